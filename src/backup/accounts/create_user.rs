//! CREATE USER statements of one account.

use crate::Result;
use crate::backup::accounts::text::{
    Certificate, first_method, with_attributes, without_default_role,
};
use crate::backup::accounts::{Principal, unreadable};
use crate::mysql::connect::literal;
use crate::mysql::{Connection, ServerVersion};
use crate::sql::definer::Account;

/// The statements that create the account; they can be executed repeatedly.
pub(super) async fn create_user(
    connection: &mut Connection,
    server: &ServerVersion,
    principal: &Principal,
    has_attributes: bool,
) -> Result<Vec<String>> {
    let who = principal.quoted();
    let shown: Vec<String> = connection.rows(&format!("SHOW CREATE USER {who}")).await?;
    let mut shown = shown.into_iter();
    let create = shown.next().unwrap_or_default();
    let rest = create.strip_prefix("CREATE USER ").ok_or_else(|| {
        connection
            .role()
            .error(format!("SHOW CREATE USER {who} answers something else"))
    })?;
    if server.is_mariadb() {
        // The second line, if any, sets the lifetime of the password that follows an expired one.
        let mut all = vec![format!("CREATE USER IF NOT EXISTS {rest}")];
        all.extend(shown);
        return Ok(all);
    }
    let hidden = hidden(connection, &principal.account, has_attributes).await?;
    statements(&who, rest, &hidden).ok_or_else(|| unreadable(principal))
}

/// The statements that create an account of MySQL: from `shown`, the text after `CREATE USER ` in SHOW CREATE
/// USER, and the attributes that are missing there. `None` if the text cannot be parsed.
fn statements(who: &str, shown: &str, hidden: &Hidden) -> Option<Vec<String>> {
    let rest = hidden.certificate.escaped(shown)?;
    let rest = with_attributes(&rest, hidden.attributes.as_deref())?;
    let rest = without_default_role(&rest);
    let mut all = vec![format!("CREATE USER IF NOT EXISTS {rest}")];
    if let Some(old) = &hidden.old_password
        && let Some((method, hash)) = first_method(&rest)
    {
        let alter = |hash: &str| format!("ALTER USER {who} IDENTIFIED WITH {method} AS {hash}");
        all.push(alter(&format!("0x{old}")));
        all.push(format!("{} RETAIN CURRENT PASSWORD", alter(&rest[hash])));
    }
    // For an expired password, SHOW CREATE USER does not show the lifetime of the next one; and setting a
    // password makes it valid.
    if hidden.expired {
        let lifetime = match hidden.lifetime_days {
            None => None,
            Some(0) => Some("NEVER".to_owned()),
            Some(days) => Some(format!("INTERVAL {days} DAY")),
        };
        if hidden.old_password.is_some() || lifetime.is_some() {
            let lifetime = lifetime.map(|how| format!("ALTER USER {who} PASSWORD EXPIRE {how}"));
            all.extend(lifetime);
            all.push(format!("ALTER USER {who} PASSWORD EXPIRE"));
        }
    }
    Some(all)
}

/// Attributes of an account that MySQL's SHOW CREATE USER omits, or shows in a form that does not recreate them.
#[derive(Debug, Default)]
struct Hidden {
    /// The required client certificate, which is not escaped there.
    certificate: Certificate,
    /// Comment and attributes as JSON; characters outside the BMP are question marks there.
    attributes: Option<String>,
    /// Whether the password has expired.
    expired: bool,
    /// Lifetime of the account's passwords, days; 0 for unlimited, `None` for the server's default.
    lifetime_days: Option<u16>,
    /// Hash of the secondary password as hexadecimal digits.
    old_password: Option<String>,
}

async fn hidden(
    connection: &mut Connection,
    account: &Account,
    has_attributes: bool,
) -> Result<Hidden> {
    let (old_password, attributes) = if has_attributes {
        (
            "HEX(JSON_UNQUOTE(JSON_EXTRACT(user_attributes, '$.additional_password')))",
            "CAST(JSON_EXTRACT(user_attributes, '$.metadata') AS CHAR)",
        )
    } else {
        ("NULL", "NULL")
    };
    let sql = format!(
        "SELECT password_expired, password_lifetime, {old_password}, {attributes}, ssl_type = 'SPECIFIED',
         x509_subject, x509_issuer, ssl_cipher FROM mysql.user WHERE user = {} AND host = {}",
        literal(&account.user),
        literal(&account.host)
    );
    type Row = (
        String,
        Option<u16>,
        Option<String>,
        Option<String>,
        bool,
        Vec<u8>,
        Vec<u8>,
        Vec<u8>,
    );
    let row: Row = connection.one(&sql).await?;
    let (expired, lifetime_days, old_password, attributes, specified, subject, issuer, cipher) =
        row;
    Ok(Hidden {
        certificate: Certificate {
            specified,
            subject,
            issuer,
            cipher,
        },
        attributes,
        expired: expired == "Y",
        lifetime_days,
        old_password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::recorded::CREATE_USER;

    #[test]
    fn the_statement_of_every_version_is_kept_without_default_roles() {
        for shown in CREATE_USER {
            let rest = shown.answer.strip_prefix("CREATE USER ").unwrap();
            let alone = rest.replacen(shown.roles, "", usize::from(!shown.roles.is_empty()));
            assert_eq!(
                statements("`a`@`%`", rest, &Hidden::default()).unwrap(),
                [format!("CREATE USER IF NOT EXISTS {alone}")],
                "{}",
                shown.version
            );
        }
    }

    #[test]
    fn a_secondary_password_is_set_before_the_primary_one() {
        let two = Hidden {
            old_password: Some("2441".into()),
            ..Hidden::default()
        };
        for shown in CREATE_USER {
            let rest = shown.answer.strip_prefix("CREATE USER ").unwrap();
            let mut created = statements("`a`@`%`", rest, &two)
                .unwrap()
                .into_iter()
                .skip(1);
            let Some(hash) = shown.hash else {
                assert_eq!(created.next(), None, "{}", shown.version);
                continue;
            };
            let alter = "ALTER USER `a`@`%` IDENTIFIED WITH '";
            let (old, new) = (created.next().unwrap(), created.next().unwrap());
            assert!(
                old.starts_with(alter) && old.ends_with("' AS 0x2441"),
                "{old}"
            );
            let end = format!("' AS {hash} RETAIN CURRENT PASSWORD");
            assert!(new.starts_with(alter) && new.ends_with(&end), "{new}");
            assert_eq!(created.next(), None, "{}", shown.version);
        }
    }

    #[test]
    fn an_expired_password_keeps_the_lifetime_of_the_next_one() {
        let hidden = |lifetime_days| Hidden {
            expired: true,
            lifetime_days,
            ..Hidden::default()
        };
        let rest = CREATE_USER[0].answer.strip_prefix("CREATE USER ").unwrap();
        for (days, how) in [(0, "NEVER"), (90, "INTERVAL 90 DAY")] {
            assert_eq!(
                statements("`a`@`%`", rest, &hidden(Some(days))).unwrap()[1..],
                [
                    format!("ALTER USER `a`@`%` PASSWORD EXPIRE {how}"),
                    "ALTER USER `a`@`%` PASSWORD EXPIRE".to_owned()
                ]
            );
        }
        assert_eq!(statements("`a`@`%`", rest, &hidden(None)).unwrap().len(), 1);
    }
}

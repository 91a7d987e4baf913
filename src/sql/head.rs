//! What a message may show of a statement: its leading keywords, never a name, never a value.

use super::tokens::Tokens;

/// How much is shown, in bytes.
const LONGEST: usize = 80;

/// The words that are shown. A word that is not here could be anybody's password.
const KEYWORDS: &str = "ALGORITHM ALL ALTER ANALYZE BEGIN BINLOG BODY CALL CHANGE COMMIT CREATE DATABASE DEFAULT \
    DEFINER DELETE DO DROP EVENT EXECUTE EXISTS FLUSH FUNCTION GLOBAL GRANT HANDLER IF \
    IGNORE IMMEDIATE IMPORT INSERT INSTALL INTO KILL LIBRARY LOAD LOCAL LOCK MASTER NAMES \
    NOT OPTIMIZE OR PACKAGE PASSWORD PERSIST PERSIST_ONLY PLUGIN PREPARE PROCEDURE PURGE \
    RENAME REPLACE REPLICA RESET REVOKE ROLE SCHEMA SELECT SEQUENCE SERVER SESSION SET SHOW \
    SHUTDOWN SLAVE SONAME START STOP TABLE TABLES TABLESPACE TEMPORARY TRANSACTION TRIGGER \
    TRUNCATE UNINSTALL UNLOCK UPDATE USE USER VIEW WITH";

/// The leading keywords of a statement.
pub fn head(sql: &[u8]) -> String {
    let mut shown = String::new();
    for token in Tokens::new(sql) {
        let keyword = KEYWORDS
            .split_ascii_whitespace()
            .find(|word| token.is(word));
        match keyword {
            Some(word) if shown.len() < LONGEST => {
                shown.push_str(word);
                shown.push(' ');
            }
            _ => break,
        }
    }
    match shown.is_empty() {
        true => "(it begins with no keyword)".to_owned(),
        false => shown + "…",
    }
}

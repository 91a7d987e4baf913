//! The part of a statement that messages may show: its leading keywords, never a name or value.

use super::tokens::Tokens;

/// Maximum number of bytes shown.
const MAX_BYTES: usize = 80;

/// The words that are shown. Any other word could be a password.
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
            Some(word) if shown.len() < MAX_BYTES => {
                shown.push_str(word);
                shown.push(' ');
            }
            _ => break,
        }
    }
    if shown.is_empty() {
        return "(it does not begin with a keyword)".to_owned();
    }
    shown + "…"
}

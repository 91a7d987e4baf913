//! Statements of Percona's mysqldump that enable bulk loading on servers with MyRocks: queries, and prepared
//! statements built from their results.
//!
//! They are recognised by their exact texts; no other prepared statement is accepted in a dump. drctl does not
//! execute them, since they only affect the speed of loading.

/// The statements without delimiters: those of 5.7.17 and later, then those at the end of a dump and of older
/// programs.
const TEXTS: &[&str] = &[
    "/*!50717 SELECT COUNT(*) INTO @rocksdb_has_p_s_session_variables FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME = 'session_variables' */",
    r"/*!50717 SET @rocksdb_get_is_supported = IF (@rocksdb_has_p_s_session_variables, 'SELECT COUNT(*) INTO @rocksdb_is_supported FROM performance_schema.session_variables WHERE VARIABLE_NAME=\'rocksdb_bulk_load\'', 'SELECT 0') */",
    "/*!50717 PREPARE s FROM @rocksdb_get_is_supported */",
    "/*!50717 SET @rocksdb_enable_bulk_load = IF (@rocksdb_is_supported, 'SET SESSION rocksdb_bulk_load = 1', 'SET @rocksdb_dummy_bulk_load = 0') */",
    "/*!50717 PREPARE s FROM @rocksdb_enable_bulk_load */",
    "/*!50717 EXECUTE s */",
    "/*!50717 DEALLOCATE PREPARE s */",
    "/*!50112 SELECT COUNT(*) INTO @is_rocksdb_supported FROM INFORMATION_SCHEMA.SESSION_VARIABLES WHERE VARIABLE_NAME='rocksdb_bulk_load' */",
    "/*!50112 SET @save_old_rocksdb_bulk_load = IF (@is_rocksdb_supported, 'SET @old_rocksdb_bulk_load = @@rocksdb_bulk_load', 'SET @dummy_old_rocksdb_bulk_load = 0') */",
    "/*!50112 PREPARE s FROM @save_old_rocksdb_bulk_load */",
    "/*!50112 SET @enable_bulk_load = IF (@is_rocksdb_supported, 'SET SESSION rocksdb_bulk_load = 1', 'SET @dummy_rocksdb_bulk_load = 0') */",
    "/*!50112 PREPARE s FROM @enable_bulk_load */",
    "/*!50112 SET @disable_bulk_load = IF (@is_rocksdb_supported, 'SET SESSION rocksdb_bulk_load = @old_rocksdb_bulk_load', 'SET @dummy_rocksdb_bulk_load = 0') */",
    "/*!50112 PREPARE s FROM @disable_bulk_load */",
    "/*!50112 EXECUTE s */",
    "/*!50112 DEALLOCATE PREPARE s */",
];

/// Whether a statement, given without its delimiter, is one of these.
pub fn is_bulk_load(sql: &[u8]) -> bool {
    TEXTS.iter().any(|text| text.as_bytes() == sql)
}

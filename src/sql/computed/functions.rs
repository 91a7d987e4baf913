//! The functions that MySQL and MariaDB accept in expressions of a table, and the session variables on which
//! their results depend (MySQL 9.7 manual, "Server System Variables", and the pages of the functions; each tested
//! on MySQL 9.7 and MariaDB 10.11).
//!
//! A function that is not listed here depends on everything. A needless dependency costs a query on the table's
//! rows before the dump; a missed one may restore other values.

use super::variables::{
    ALLOW_INVALID_DATES, DEFAULT_REGEX_FLAGS, TEMPORAL, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE,
    all_dependencies,
};

/// Functions with specific dependencies. MySQL prints `DATE(ts)` as a cast, whose dependencies are those of the
/// column.
const DEPENDENT: &[(&str, &[&str])] = &[
    ("aes_decrypt", &["block_encryption_mode"]),
    ("aes_encrypt", &["block_encryption_mode"]),
    ("avg", &["div_precision_increment"]),
    (
        "convert_tz",
        &[ALLOW_INVALID_DATES, TIME_ZONE, TIME_TRUNCATE_FRACTIONAL],
    ),
    (
        "date_format",
        &[
            ALLOW_INVALID_DATES,
            "lc_time_names",
            TIME_TRUNCATE_FRACTIONAL,
        ],
    ),
    (
        "dayname",
        &[
            ALLOW_INVALID_DATES,
            "lc_time_names",
            TIME_TRUNCATE_FRACTIONAL,
        ],
    ),
    (
        "from_unixtime",
        &[
            ALLOW_INVALID_DATES,
            "lc_time_names",
            TIME_ZONE,
            TIME_TRUNCATE_FRACTIONAL,
        ],
    ),
    (
        "monthname",
        &[
            ALLOW_INVALID_DATES,
            "lc_time_names",
            TIME_TRUNCATE_FRACTIONAL,
        ],
    ),
    ("regexp_instr", &[DEFAULT_REGEX_FLAGS]),
    ("regexp_like", &[DEFAULT_REGEX_FLAGS]),
    ("regexp_replace", &[DEFAULT_REGEX_FLAGS]),
    ("regexp_substr", &[DEFAULT_REGEX_FLAGS]),
    (
        "str_to_date",
        &[
            ALLOW_INVALID_DATES,
            "lc_time_names",
            TIME_TRUNCATE_FRACTIONAL,
        ],
    ),
    (
        "time_format",
        &[
            ALLOW_INVALID_DATES,
            "lc_time_names",
            TIME_TRUNCATE_FRACTIONAL,
        ],
    ),
    (
        "unix_timestamp",
        &[ALLOW_INVALID_DATES, TIME_ZONE, TIME_TRUNCATE_FRACTIONAL],
    ),
];

/// Functions that only convert their arguments to temporal values, or return temporal values.
const TEMPORAL_FUNCTIONS: &str = "add_months adddate addtime date date_add date_sub datediff day dayofmonth dayofweek dayofyear \
    extract from_days get_format hour last_day makedate maketime microsecond minute month period_add period_diff \
    quarter sec_to_time second subdate subtime time time_to_sec timediff timestamp timestampadd timestampdiff \
    to_char to_days to_seconds week weekday weekofyear year yearweek";

/// Functions whose result depends only on their arguments, and words that precede a parenthesis without being
/// functions.
const INDEPENDENT: &str = "abs acos aes and any_value array as ascii asin atan atan2 between bigint bin bin_to_uuid \
    binary bit bit_count bit_length case cast ceil ceiling char char_length character_length charset chr coalesce \
    coercibility collate collation compress concat concat_operator_oracle concat_ws conv convert cos cot crc32 \
    crc32c date decimal decode decode_oracle degrees des_decrypt des_encrypt distinct div double else elt encode \
    encrypt escape exp export_set field find_in_set float floor format from_base64 geomcollection \
    geometrycollection greatest hash hex if ifnull in inet4_aton inet6_aton inet6_ntoa inet_aton inet_ntoa insert \
    instr int integer interval is is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_uuid isnull key lcase least left \
    length lengthb like linestring list ln locate log log10 log2 lower lpad lpad_oracle ltrim ltrim_oracle make_set \
    match md5 mid mod multilinestring multipoint multipolygon natural_sort_key nchar not nullif numeric nvarchar nvl \
    nvl2 oct octet_length old_password or ord pi point polygon position pow power quote radians range \
    regexp repeat replace replace_oracle reverse right rlike round rpad rpad_oracle rtrim rtrim_oracle sformat sha \
    sha1 sha2 sign signed sin smallint soundex sounds space sqrt strcmp substr substr_oracle substring \
    substring_index tan then tinyint to_base64 trim trim_oracle truncate ucase uncompress uncompressed_length unhex \
    unsigned upper uuid_to_bin validate_password_strength value values varbinary varchar weight_string when where xor";

/// Functions that return unsigned numbers.
const UNSIGNED: [&str; 3] = ["crc32", "crc32c", "inet_aton"];

/// Dependencies of the result of a function, given in lower case.
pub(super) fn dependencies_of(name: &str) -> Vec<&'static str> {
    let is_in = |list: &str| list.split_whitespace().any(|one| one == name);
    if let Some((_, dependencies)) = DEPENDENT.iter().find(|(one, _)| *one == name) {
        return dependencies.to_vec();
    }
    if is_in(TEMPORAL_FUNCTIONS) {
        return TEMPORAL.to_vec();
    }
    // Functions on JSON, geometry and vectors.
    let is_family = ["json_", "st_", "mbr", "vec_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if is_family || is_in(INDEPENDENT) {
        return Vec::new();
    }
    all_dependencies()
}

/// Whether a function returns unsigned numbers.
pub(super) fn is_unsigned(name: &str) -> bool {
    UNSIGNED.contains(&name)
}

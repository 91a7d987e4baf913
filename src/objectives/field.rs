//! Parses one field of a schedule as Kubernetes does: lists, ranges, steps and names.

/// Allowed values of a field.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Name in messages.
    pub name: &'static str,
    /// Minimum value.
    pub min: u8,
    /// Maximum value.
    pub max: u8,
    /// Names of the values from `min` on; empty if there are none.
    pub names: &'static [&'static str],
}

pub(super) const MINUTE: Bounds = numbers("minute", 0, 59);
pub(super) const HOUR: Bounds = numbers("hour", 0, 23);
pub(super) const DAY_OF_MONTH: Bounds = numbers("day of month", 1, 31);
pub(super) const MONTH: Bounds = Bounds {
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    ..numbers("month", 1, 12)
};
pub(super) const DAY_OF_WEEK: Bounds = Bounds {
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    ..numbers("day of week", 0, 6)
};

const fn numbers(name: &'static str, min: u8, max: u8) -> Bounds {
    Bounds {
        name,
        min,
        max,
        names: &[],
    }
}

/// Parsed values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Sorted, without duplicates.
    pub values: Vec<u8>,
    /// Whether the field is `*` or `?`: if both day fields are restricted, either may match; if one is a
    /// star, both must. `*/2` does not count as a star.
    pub star: bool,
}

impl Field {
    /// Parses a field; the error is the reason in words.
    pub fn parse(text: &str, bounds: &Bounds) -> Result<Field, String> {
        let mut field = Field {
            values: Vec::new(),
            star: false,
        };
        for range in text.split(',').filter(|range| !range.is_empty()) {
            field
                .add(range, bounds)
                .map_err(|why| format!("{} {text}: {why}", bounds.name))?;
        }
        field.values.sort_unstable();
        field.values.dedup();
        Ok(field)
    }

    fn add(&mut self, text: &str, bounds: &Bounds) -> Result<(), String> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => (range, Some(number(step)?)),
        };
        let (low, high) = match range.split_once('-') {
            None => (range, None),
            Some((low, high)) => (low, Some(high)),
        };
        let star = matches!(low, "*" | "?");
        let (start, end) = match (star, high) {
            (true, _) => (bounds.min, bounds.max),
            (false, Some(high)) => (value(low, bounds)?, value(high, bounds)?),
            // `5/15` means `5-59/15`.
            (false, None) if step.is_some() => (value(low, bounds)?, bounds.max),
            (false, None) => (value(low, bounds)?, value(low, bounds)?),
        };
        if start > end {
            return Err(format!("the range {range} ends before it begins"));
        }
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err("the step is 0".to_owned());
        }
        self.star |= star && step == 1;
        self.values.extend((start..=end).step_by(step));
        Ok(())
    }
}

fn value(text: &str, bounds: &Bounds) -> Result<u8, String> {
    let is_name = |name: &&str| name.eq_ignore_ascii_case(text);
    let value = match (bounds.min..)
        .zip(bounds.names)
        .find(|(_, name)| is_name(name))
    {
        Some((value, _)) => return Ok(value),
        None => number(text)?,
    };
    match u8::try_from(value) {
        Ok(value) if (bounds.min..=bounds.max).contains(&value) => Ok(value),
        _ => Err(format!(
            "{value} is not between {} and {}",
            bounds.min, bounds.max
        )),
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, bounds: &Bounds) -> Vec<u8> {
        Field::parse(text, bounds).unwrap().values
    }

    #[test]
    fn lists_ranges_steps_and_names_are_their_values() {
        assert_eq!(values("1,5-7,5", &HOUR), [1, 5, 6, 7]);
        assert_eq!(values("*/20", &MINUTE), [0, 20, 40]);
        assert_eq!(values("5/25", &MINUTE), [5, 30, 55]);
        assert_eq!(values("10-20/5", &MINUTE), [10, 15, 20]);
        assert_eq!(values("Mon-FRI/2", &DAY_OF_WEEK), [1, 3, 5]);
        assert_eq!(values("jan,DEC", &MONTH), [1, 12]);
    }

    #[test]
    fn only_a_bare_star_counts_as_a_star() {
        for (text, star) in [("*", true), ("?", true), ("*/1", true), ("3,*", true)] {
            assert_eq!(Field::parse(text, &HOUR).unwrap().star, star, "{text}");
        }
        for text in ["*/2", "0-23", "0/1"] {
            assert!(!Field::parse(text, &HOUR).unwrap().star, "{text}");
        }
    }

    #[test]
    fn an_invalid_value_is_refused_with_its_field() {
        for (text, bounds, why) in [
            ("60", &MINUTE, "minute 60: 60 is not between 0 and 59"),
            ("7", &DAY_OF_WEEK, "day of week 7: 7 is not between 0 and 6"),
            ("0", &DAY_OF_MONTH, "0 is not between 1 and 31"),
            ("5-3", &HOUR, "5-3 ends before it begins"),
            ("*/0", &HOUR, "the step is 0"),
            ("x", &HOUR, "\"x\" is not a number"),
            ("1-2-3", &HOUR, "\"2-3\" is not a number"),
            ("1/2/3", &HOUR, "\"2/3\" is not a number"),
            ("-1", &HOUR, "\"\" is not a number"),
            ("300", &HOUR, "300 is not between"),
            ("mon", &MONTH, "\"mon\" is not a number"),
        ] {
            let said = Field::parse(text, bounds).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}

//! Dates and times of day, UTC, by the Gregorian calendar, and seconds since 1970 began.
//!
//! Years and months are counted off one by one: they are few, and it is plain that it is right.

const DAY: u64 = 24 * 60 * 60;
/// The first year that there is, and the last.
const FIRST: u32 = 1970;
const LAST: u32 = 9999;

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each says what it is
pub struct DateTime {
    pub year: u32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of_year(year: u32) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days of a month, counted from 1; 0 of what is no month.
const fn days_of_month(year: u32, month: u32) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

impl DateTime {
    /// The date and time so many seconds after 1970 began; the end of the last year for what is later.
    pub fn from_unix(seconds: u64) -> DateTime {
        let (mut days, rest) = (seconds / DAY, seconds % DAY);
        let mut year = FIRST;
        while days >= days_of_year(year) {
            if year == LAST {
                let (month, day, hour, minute, second) = (12, 31, 23, 59, 59);
                return DateTime { year, month, day, hour, minute, second };
            }
            days -= days_of_year(year);
            year += 1;
        }
        let mut month = 1;
        while days >= days_of_month(year, month) {
            days -= days_of_month(year, month);
            month += 1;
        }
        let small = |number: u64| u32::try_from(number).unwrap_or(0);
        let (hour, minute, second) = (small(rest / 3600), small(rest / 60 % 60), small(rest % 60));
        DateTime { year, month, day: small(days) + 1, hour, minute, second }
    }

    /// Seconds since 1970 began; `None` where there is no such date or time.
    pub fn to_unix(&self) -> Option<u64> {
        let DateTime { year, month, day, hour, minute, second } = *self;
        let exists = (FIRST..=LAST).contains(&year)
            && (1..=days_of_month(year, month)).contains(&day.into())
            && hour < 24
            && minute < 60
            && second < 60;
        let years: u64 = (FIRST..year.min(LAST)).map(days_of_year).sum();
        let months: u64 = (1..month.min(12)).map(|month| days_of_month(year, month)).sum();
        let days = years + months + u64::from(day.saturating_sub(1));
        let clock = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
        exists.then_some(days * DAY + clock)
    }
}

#[cfg(test)]
mod tests {
    use super::DateTime;
    use proptest::prelude::*;

    fn at(year: u32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> DateTime {
        DateTime { year, month, day, hour, minute, second }
    }

    #[test]
    fn dates_that_are_known() {
        for (seconds, date) in [
            (0, at(1970, 1, 1, 0, 0, 0)),
            (951_782_399, at(2000, 2, 28, 23, 59, 59)),
            (951_782_400, at(2000, 2, 29, 0, 0, 0)),
            (1_000_000_000, at(2001, 9, 9, 1, 46, 40)),
            (4_102_444_800, at(2100, 1, 1, 0, 0, 0)),
            (4_107_542_400, at(2100, 3, 1, 0, 0, 0)),
            (253_402_300_799, at(9999, 12, 31, 23, 59, 59)),
        ] {
            assert_eq!(DateTime::from_unix(seconds), date);
            assert_eq!(date.to_unix(), Some(seconds));
        }
        assert_eq!(DateTime::from_unix(u64::MAX), at(9999, 12, 31, 23, 59, 59));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for date in [
            at(1969, 12, 31, 0, 0, 0),
            at(10_000, 1, 1, 0, 0, 0),
            at(2001, 2, 29, 0, 0, 0),
            at(2100, 2, 29, 0, 0, 0),
            at(2001, 0, 1, 0, 0, 0),
            at(2001, 13, 1, 0, 0, 0),
            at(2001, 4, 31, 0, 0, 0),
            at(2001, 4, 0, 0, 0, 0),
            at(2001, 4, 1, 24, 0, 0),
            at(2001, 4, 1, 0, 60, 0),
            at(2001, 4, 1, 0, 0, 60),
            at(u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        ] {
            assert_eq!(date.to_unix(), None, "{date:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(seconds in 0u64..253_402_300_800) {
            prop_assert_eq!(DateTime::from_unix(seconds).to_unix(), Some(seconds));
        }
    }
}

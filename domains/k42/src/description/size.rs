//! Amounts of memory as people write them.

/// What is wrong with an amount.
pub(crate) const HOW: &str = "write a whole number of MiB or GiB, such as \"512M\" or \"1G\"";

/// `512M` or `1G` in bytes.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (number, unit) = if let Some(number) = text.strip_suffix('M') {
        (number, 1 << 20)
    } else {
        (text.strip_suffix('G')?, 1 << 30)
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// An amount of whole MiB as people write it.
pub(crate) fn show(bytes: u64) -> String {
    match bytes {
        0 => "0M".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}G", bytes >> 30),
        _ => format!("{}M", bytes.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_shown_is_parsed(mebibytes in 0u64..1 << 40) {
            prop_assert_eq!(parse(&show(mebibytes << 20)), Some(mebibytes << 20));
        }
    }

    #[test]
    fn other_words_are_no_amounts() {
        for text in ["", "M", "512", "512K", "-1M", "+1M", "1.5G", "1 G", "99999999999999999G"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! Numbers of payment cards: 13 to 19 digits that begin like a card's and end in the right check digit.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::finding::{Finding, Kind};
use super::rule::compiled;

/// In one piece, or in the groups that are printed on cards. Cards begin with 2 to 6; counters of time with 1.
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"[2-6][0-9]{3}(?:[ -][0-9]{4}){2,3}(?:[ -][0-9]{1,4})?|3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}|[2-6][0-9]{12,18}",
    )
});

/// Adds what is found in `line`.
pub fn find(line: &[u8], findings: &mut Vec<Finding>) {
    let mut from = 0;
    while let Some(found) = CARD.find_at(line, from) {
        let (start, end) = (found.start(), found.end());
        // A decimal has digits after its point, and a longer number is no card.
        let is_decimal = |byte: u8, next: Option<&u8>| byte == b'.' && next.is_some_and(u8::is_ascii_digit);
        let before = start.checked_sub(1).is_some_and(|at| {
            let earlier = at.checked_sub(1).and_then(|at| line.get(at));
            line[at].is_ascii_digit() || is_decimal(line[at], earlier)
        });
        let after = line.get(end).is_some_and(|byte| byte.is_ascii_digit() || is_decimal(*byte, line.get(end + 1)));
        if !before && !after && checks(found.as_bytes()) {
            findings.push(Finding { at: found.range(), kind: Kind::Card });
            from = end;
        } else {
            from = start + 1;
        }
    }
}

/// Luhn's rule: from the right, every second digit counts twice, and the sum ends in zero.
fn checks(number: &[u8]) -> bool {
    let digits = number.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, double) => double / 10 + double % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[test]
    fn cards_are_found_and_numbers_like_them_are_not() {
        let clean = |line: &str| String::from_utf8(Redactor::default().line(line.as_bytes()).into_owned()).unwrap();
        for number in
            ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "3782 822463 10005"]
        {
            assert_eq!(clean(&format!("pay {number}, please")), "pay [redacted:card], please");
            assert_eq!(clean(&format!("\\n{number}\\n")), "\\n[redacted:card]\\n");
        }
        for line in ["4111111111111112", "1763857074123456", "41111111111111110000", "0.4111111111111111", "id 7-1234"]
        {
            assert_eq!(clean(line), line);
        }
    }
}

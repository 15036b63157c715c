//! Reading a script's text from left to right: white space and comments, words, numbers, strings.

use core::time::Duration;

use super::source::SyntaxError;

pub(super) type Result<T> = core::result::Result<T, SyntaxError>;

/// A place in a script's text.
pub(super) struct Cursor<'s> {
    text: &'s str,
    at: usize,
    /// Behind the last thing that was read, white space left out.
    end: usize,
}

impl<'s> Cursor<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text, at: 0, end: 0 }
    }

    /// Byte offset, wherever that is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Behind what was read last.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// What follows, with nothing skipped.
    pub(super) fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(SyntaxError::new(self.at, message))
    }

    /// Past `n` bytes, which the caller has looked at.
    pub(super) fn advance(&mut self, n: usize) {
        self.at += n;
        self.end = self.at;
    }

    /// Past white space and comments.
    pub(super) fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |n| n + 2)
            } else {
                return;
            };
            self.at += comment;
        }
    }

    /// The next character that is no space.
    pub(super) fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.rest().chars().next()
    }

    /// Whether `what` comes next; past it, if so.
    pub(super) fn eat(&mut self, what: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(what);
        if found {
            self.advance(what.len());
        }
        found
    }

    pub(super) fn expect(&mut self, what: &str) -> Result<()> {
        if self.eat(what) { Ok(()) } else { self.fail(format!("expected `{what}`")) }
    }

    /// The word that comes next, without going past it.
    pub(super) fn peek_word(&mut self) -> &'s str {
        self.skip_space();
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return "";
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'s str> {
        let word = self.peek_word();
        if word.is_empty() {
            return self.fail(format!("expected {what}"));
        }
        self.advance(word.len());
        Ok(word)
    }

    /// Whether the whole word `word` comes next; past it, if so.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == word;
        if found {
            self.advance(word.len());
        }
        found
    }

    /// A number, decimal or hexadecimal, that fits `T`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T> {
        self.skip_space();
        let rest = self.rest();
        let (digits, radix, skip) = match rest.strip_prefix("0x") {
            Some(hex) => (hex, 16, 2),
            None => (rest, 10, 0),
        };
        let len = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        if len == 0 {
            return self.fail(format!("expected {what}"));
        }
        let value = u64::from_str_radix(&digits[..len], radix).ok().and_then(|n| T::try_from(n).ok());
        let Some(value) = value else {
            return self.fail(format!("{} is out of range for {what}", &rest[..skip + len]));
        };
        self.advance(skip + len);
        Ok(value)
    }

    /// Seconds with up to nine decimals.
    pub(super) fn seconds(&mut self) -> Result<Duration> {
        self.skip_space();
        let rest = self.rest();
        let whole = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let mut end = whole;
        let mut nanos = 0;
        // Two dots or more are the `...` of a call that waits.
        if let Some(after) = rest[whole..].strip_prefix('.')
            && !after.starts_with('.')
        {
            let decimals = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            if decimals > 9 {
                return self.fail("a time has at most nine decimals");
            }
            if decimals == 0 && whole == 0 {
                return self.fail("expected a time in seconds");
            }
            end = whole + 1 + decimals;
            nanos = after[..decimals].bytes().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
            nanos *= 10_u32.pow(9 - decimals as u32);
        }
        if end == 0 {
            return self.fail("expected a time in seconds");
        }
        let Ok(seconds) = (if whole == 0 { "0" } else { &rest[..whole] }).parse() else {
            return self.fail("this time is too long");
        };
        self.advance(end);
        Ok(Duration::new(seconds, nanos))
    }

    /// A string in double quotes, with `\n`, `\r`, `\t`, `\0`, `\\`, `\"` and `\xHH`.
    pub(super) fn string(&mut self) -> Result<Vec<u8>> {
        self.expect("\"")?;
        let mut bytes = Vec::new();
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else { return self.fail("the string does not end") };
            match c {
                '"' => {
                    self.advance(1);
                    return Ok(bytes);
                }
                '\\' => {
                    let (byte, len) = match rest.as_bytes().get(1) {
                        Some(b'n') => (b'\n', 2),
                        Some(b'r') => (b'\r', 2),
                        Some(b't') => (b'\t', 2),
                        Some(b'0') => (0, 2),
                        Some(&c @ (b'\\' | b'"')) => (c, 2),
                        Some(b'x') => match rest.get(2..4).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                            Some(byte) => (byte, 4),
                            None => return self.fail("expected two hexadecimal digits after \\x"),
                        },
                        _ => return self.fail("unknown escape"),
                    };
                    bytes.push(byte);
                    self.at += len;
                }
                '\n' => return self.fail("the string does not end in its line"),
                c => {
                    bytes.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
                    self.at += c.len_utf8();
                }
            }
        }
    }
}

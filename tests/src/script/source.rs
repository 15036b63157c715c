//! A script's text, and mistakes in it: where, and what.

use core::fmt;

/// A script's text with the name that messages give it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path, or whatever tells people which script it is.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// `text` under `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// `name:line:col`.
    #[must_use]
    pub fn place(&self, at: usize) -> String {
        let (line, column) = self.position(at);
        format!("{}:{line}:{column}", self.name)
    }

    /// The line that holds a byte, without its end.
    #[must_use]
    pub fn line(&self, at: usize) -> &str {
        let at = at.min(self.text.len());
        let start = self.text[..at].rfind('\n').map_or(0, |n| n + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |n| at + n);
        &self.text[start..end]
    }
}

/// Something in a script that is not in its language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Byte offset.
    pub at: usize,
    /// What was expected, or what is wrong.
    pub message: String,
}

impl SyntaxError {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// With the place, the line, and a mark under the character.
    #[must_use]
    pub fn explain(&self, source: &Source) -> String {
        let (line, column) = source.position(self.at);
        let text = source.line(self.at);
        // Tabs stay tabs, so that the mark stands under its character.
        let pad: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        format!("{}:{line}:{column}: {}\n    {text}\n    {pad}^", source.name, self.message)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.message)
    }
}

impl core::error::Error for SyntaxError {}

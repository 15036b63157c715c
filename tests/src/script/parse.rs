//! From text to [`Script`]: settings, then events, each a time and what happens then.

use core::time::Duration;

use super::ast::{Action, Event, Script, Setting, Time};
use super::cursor::{Cursor, Result};
use super::source::SyntaxError;
use super::{expr, parse_call, parse_packet};

/// Reads a whole script.
///
/// # Errors
/// The first place that is not in the language.
pub fn parse(text: &str) -> core::result::Result<Script, SyntaxError> {
    let mut c = Cursor::new(text);
    let mut script = Script::default();
    while c.peek() == Some('-') {
        script.settings.push(setting(&mut c)?);
    }
    while c.peek().is_some() {
        script.events.push(event(&mut c)?);
    }
    Ok(script)
}

/// Reads settings alone, as they stand on a command line.
///
/// # Errors
/// As [`parse`].
pub fn parse_settings(text: &str) -> core::result::Result<Vec<Setting>, SyntaxError> {
    let script = parse(text)?;
    match script.events.first() {
        None => Ok(script.settings),
        Some(e) => Err(SyntaxError::new(e.text.start, "only settings can stand here")),
    }
}

fn setting(c: &mut Cursor<'_>) -> Result<Setting> {
    let at = c.at();
    c.expect("--")?;
    let rest = c.rest();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (name, value) = rest[..end].split_once('=').unwrap_or((&rest[..end], ""));
    if name.is_empty() {
        return c.fail("expected a setting's name");
    }
    let setting = Setting { at, name: name.to_owned(), value: value.to_owned() };
    c.advance(end);
    Ok(setting)
}

fn event(c: &mut Cursor<'_>) -> Result<Event> {
    c.skip_space();
    let start = c.at();
    let time = time(c)?;
    let action = match c.peek() {
        Some('<') => {
            c.advance(1);
            Action::Inbound(parse_packet::packet(c, true)?)
        }
        Some('>') => {
            c.advance(1);
            Action::Outbound(parse_packet::packet(c, false)?)
        }
        Some('%') => {
            c.expect("%{")?;
            Action::Check(expr::statements(c)?)
        }
        Some('`') => return c.fail("shell commands are not in this language: scripts run on a virtual clock"),
        Some(ch) if ch.is_ascii_alphabetic() => Action::Call(parse_call::call(c)?),
        _ => return c.fail("expected `<`, `>`, `%{` or a call"),
    };
    let waits = matches!(time, Time::Waits(..));
    let range = matches!(time, Time::Absolute(a, b) | Time::Relative(a, b) if a != b);
    let misfit = match action {
        Action::Outbound(_) if waits => Some("a packet does not wait: give a range, as in `+0~+.1`"),
        Action::Inbound(_) | Action::Check(_) if waits || range || time == Time::Any => Some("this needs one moment"),
        Action::Call(_) if range || time == Time::Any => {
            Some("a call needs one moment, or `start...end` when it waits")
        }
        _ => None,
    };
    match misfit {
        Some(message) => Err(SyntaxError::new(start, message)),
        None => Ok(Event { text: start..c.end(), time, action }),
    }
}

fn time(c: &mut Cursor<'_>) -> Result<Time> {
    if c.eat("*") {
        return Ok(Time::Any);
    }
    let relative = c.eat("+");
    if !relative && !c.peek().is_some_and(|ch| ch.is_ascii_digit() || ch == '.') {
        return c.fail("expected a time: `1.5`, `+.5` or `*`");
    }
    let from = c.seconds()?;
    if c.eat("~") {
        if c.eat("+") != relative {
            return c.fail("both ends of a range are relative (`+a~+b`) or both are not");
        }
        let to = later(c, from)?;
        return Ok(if relative { Time::Relative(from, to) } else { Time::Absolute(from, to) });
    }
    if c.eat("...") {
        // As packetdrill has it: `0...0.1` or `+0...0.1`, the end counted as the start is.
        c.eat("+");
        let to = later(c, from)?;
        return Ok(Time::Waits(relative, from, to));
    }
    Ok(if relative { Time::Relative(from, from) } else { Time::Absolute(from, from) })
}

fn later(c: &mut Cursor<'_>, from: Duration) -> Result<Duration> {
    let at = c.at();
    let to = c.seconds()?;
    if to < from {
        return Err(SyntaxError::new(at, "the range ends before it begins"));
    }
    Ok(to)
}

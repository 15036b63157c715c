//! Calls: `setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0`, `read(4, ..., 1000) = -1 EAGAIN`.

use super::ast::{Arg, Call};
use super::cursor::{Cursor, Result};

pub(super) fn call(c: &mut Cursor<'_>) -> Result<Call> {
    let name = c.word("a function")?.to_owned();
    c.expect("(")?;
    let args = list(c, ")")?;
    c.expect("=")?;
    let result = signed(c)?;
    let errno = if result == -1 { Some(c.word("the error that goes with -1")?.to_owned()) } else { None };
    // As strace has it: `EINPROGRESS (Operation now in progress)`.
    if errno.is_some() && c.eat("(") {
        let rest = c.rest();
        let Some(end) = rest.find(')') else { return c.fail("expected `)`") };
        c.advance(end + 1);
    }
    Ok(Call { name, args, result, errno })
}

fn signed(c: &mut Cursor<'_>) -> Result<i64> {
    let negative = c.eat("-");
    let n: u32 = c.number("a number")?;
    Ok(if negative { -i64::from(n) } else { n.into() })
}

/// Arguments up to `end`, past it.
fn list(c: &mut Cursor<'_>, end: &str) -> Result<Vec<Arg>> {
    let mut all = Vec::new();
    while !c.eat(end) {
        if !all.is_empty() {
            c.expect(",")?;
        }
        all.push(arg(c)?);
    }
    Ok(all)
}

fn arg(c: &mut Cursor<'_>) -> Result<Arg> {
    if c.eat("...") {
        return Ok(Arg::Ellipsis);
    }
    if c.eat("[") {
        return Ok(Arg::List(list(c, "]")?));
    }
    if c.eat("{") {
        let mut fields = Vec::new();
        while !c.eat("}") {
            if !fields.is_empty() {
                c.expect(",")?;
            }
            let name = c.word("a field's name")?.to_owned();
            c.expect("=")?;
            fields.push((name, arg(c)?));
        }
        return Ok(Arg::Struct(fields));
    }
    match c.peek() {
        Some('"') => Ok(Arg::Str(c.string()?)),
        Some(ch) if ch == '-' || ch.is_ascii_digit() => Ok(Arg::Int(signed(c)?)),
        _ => {
            let mut names = vec![c.word("an argument")?.to_owned()];
            while c.eat("|") {
                names.push(c.word("a name")?.to_owned());
            }
            Ok(Arg::Names(names))
        }
    }
}

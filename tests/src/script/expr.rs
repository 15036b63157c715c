//! What stands between `%{` and `}%`: assertions over numbers that have names. A small part of Python's syntax, which is
//! what packetdrill has there.

use core::fmt;

use super::cursor::{Cursor, Result};

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `assert E` or `assert E, "why"`.
    Assert {
        /// Byte offset.
        at: usize,
        /// What must not be 0.
        condition: Expr,
        /// What to say otherwise.
        message: Option<String>,
    },
    /// `use 5`: names from here on are of descriptor 5.
    Use(i64),
}

/// An expression over integers; comparisons give 1 or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A number.
    Number(i64),
    /// A name.
    Name(String),
    /// `-e` or `not e`.
    Unary(Op, Box<Self>),
    /// `a op b`.
    Binary(Box<Self>, Op, Box<Self>),
}

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their symbols say what they are")]
pub enum Op {
    Or,
    And,
    Not,
    Eq,
    Ne,
    Le,
    Ge,
    Lt,
    Gt,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

/// Loosest first: operators of one level bind from left to right.
const LEVELS: &[&[(&str, Op)]] = &[
    &[("or", Op::Or)],
    &[("and", Op::And)],
    &[("==", Op::Eq), ("!=", Op::Ne), ("<=", Op::Le), (">=", Op::Ge), ("<", Op::Lt), (">", Op::Gt)],
    &[("+", Op::Add), ("-", Op::Sub)],
    &[("*", Op::Mul), ("/", Op::Div), ("%", Op::Rem)],
];

impl Op {
    fn symbol(self) -> &'static str {
        LEVELS.iter().flat_map(|l| l.iter()).find(|(_, op)| *op == self).map_or("not", |(symbol, _)| symbol)
    }
}

/// Statements up to `}%`, past it.
pub(super) fn statements(c: &mut Cursor<'_>) -> Result<Vec<Statement>> {
    let mut all = Vec::new();
    loop {
        while c.eat(";") {}
        if c.eat("}%") {
            return Ok(all);
        }
        c.skip_space();
        let at = c.at();
        match c.word("`assert`, `use` or `}%`")? {
            "assert" => {
                let condition = expr(c)?;
                let message = if c.eat(",") { Some(String::from_utf8_lossy(&c.string()?).into_owned()) } else { None };
                all.push(Statement::Assert { at, condition, message });
            }
            "use" => all.push(Statement::Use(c.number::<u32>("a descriptor")?.into())),
            other => return c.fail(format!("`{other}` is no statement: there are `assert` and `use`")),
        }
    }
}

fn expr(c: &mut Cursor<'_>) -> Result<Expr> {
    level(c, 0)
}

fn level(c: &mut Cursor<'_>, n: usize) -> Result<Expr> {
    let Some(operators) = LEVELS.get(n) else { return unary(c) };
    let mut left = level(c, n + 1)?;
    'more: loop {
        for &(symbol, op) in *operators {
            // The closing `}%` begins with no operator, but `%` must not be taken from elsewhere; words end as words.
            let found = if symbol.starts_with(char::is_alphabetic) { c.eat_word(symbol) } else { c.eat(symbol) };
            if found {
                left = Expr::Binary(Box::new(left), op, Box::new(level(c, n + 1)?));
                continue 'more;
            }
        }
        return Ok(left);
    }
}

fn unary(c: &mut Cursor<'_>) -> Result<Expr> {
    if c.eat_word("not") {
        return Ok(Expr::Unary(Op::Not, Box::new(level(c, 2)?)));
    }
    if c.eat("-") {
        return Ok(Expr::Unary(Op::Sub, Box::new(unary(c)?)));
    }
    if c.eat("(") {
        let inner = expr(c)?;
        c.expect(")")?;
        return Ok(inner);
    }
    if c.peek().is_some_and(|ch| ch.is_ascii_digit()) {
        return Ok(Expr::Number(
            c.number::<u64>("a number")
                .and_then(|n| i64::try_from(n).or_else(|_| c.fail("this number is too large")))?,
        ));
    }
    Ok(Expr::Name(c.word("a number, a name or `(`")?.to_owned()))
}

impl Expr {
    /// Its value, names looked up by `lookup`.
    ///
    /// # Errors
    /// Says which name nobody knows, or which operation has no result.
    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> core::result::Result<i64, String> {
        Ok(match self {
            Self::Number(n) => *n,
            Self::Name(name) => lookup(name).ok_or_else(|| format!("nobody knows `{name}`"))?,
            Self::Unary(op, e) => {
                let v = e.eval(lookup)?;
                if *op == Op::Not { i64::from(v == 0) } else { -v }
            }
            Self::Binary(a, op, b) => {
                let (x, y) = (a.eval(lookup)?, b.eval(lookup)?);
                let overflow = || format!("`{self}` has no result");
                match op {
                    Op::Or => i64::from(x != 0 || y != 0),
                    Op::And => i64::from(x != 0 && y != 0),
                    Op::Eq => i64::from(x == y),
                    Op::Ne => i64::from(x != y),
                    Op::Le => i64::from(x <= y),
                    Op::Ge => i64::from(x >= y),
                    Op::Lt => i64::from(x < y),
                    Op::Gt => i64::from(x > y),
                    Op::Add => x.checked_add(y).ok_or_else(overflow)?,
                    Op::Sub => x.checked_sub(y).ok_or_else(overflow)?,
                    Op::Mul => x.checked_mul(y).ok_or_else(overflow)?,
                    Op::Div => x.checked_div(y).ok_or_else(overflow)?,
                    Op::Rem => x.checked_rem(y).ok_or_else(overflow)?,
                    Op::Not => return Err(overflow()),
                }
            }
        })
    }

    /// Every name in it, from left to right.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Name(name) => vec![name],
            Self::Unary(_, e) => e.names(),
            Self::Binary(a, _, b) => [a.names(), b.names()].concat(),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Name(name) => f.write_str(name),
            Self::Unary(Op::Not, e) => write!(f, "not ({e})"),
            Self::Unary(_, e) => write!(f, "-({e})"),
            Self::Binary(a, op, b) => {
                let side = |f: &mut fmt::Formatter<'_>, e: &Self| match e {
                    Self::Binary(..) => write!(f, "({e})"),
                    _ => write!(f, "{e}"),
                };
                side(f, a)?;
                write!(f, " {} ", op.symbol())?;
                side(f, b)
            }
        }
    }
}

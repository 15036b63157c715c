//! The application's side: calls by their BSD names, answered by [`luna_core::socket`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;

use luna_core::socket::{Shutdown, SocketError, SocketId, SocketOption};
use luna_core::time::Duration;

use super::ast::{Arg, Call};
use super::flow::pattern;
use super::settings::set_field;
use super::world::{PORT, World, addresses};

/// An open descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fd {
    pub(super) id: SocketId,
    /// Bytes written, and read.
    written: u32,
    read: u32,
}

/// All open descriptors, by the numbers that the script gives them.
#[derive(Default)]
pub(super) struct Fds {
    open: BTreeMap<i64, Fd>,
    /// The one that assertions are about: connected or accepted last.
    pub(super) current: Option<i64>,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It returned this; what it read or found otherwise than the script says.
    Returned(i64, Result<(), String>),
    /// -1, with this error.
    Failed(String),
}

/// A mistake of the script's, not of the stack's.
pub(super) type Misuse = String;

fn ok(n: i64) -> Answer {
    Answer::Returned(n, Ok(()))
}

fn failed(e: SocketError) -> Answer {
    Answer::Failed(e.errno_name().to_owned())
}

fn of(result: Result<(), SocketError>) -> Answer {
    result.map_or_else(failed, |()| ok(0))
}

impl Fds {
    pub(super) fn get(&self, fd: i64) -> Result<Fd, Misuse> {
        self.open.get(&fd).copied().ok_or_else(|| format!("descriptor {fd} is not open"))
    }

    fn give(&mut self, fd: i64, id: SocketId) -> Result<(), Misuse> {
        match self.open.insert(fd, Fd { id, written: 0, read: 0 }) {
            None => Ok(()),
            Some(_) => Err(format!("descriptor {fd} is open already")),
        }
    }

    /// Makes a call. `again`: it was begun before and waits.
    pub(super) fn call(&mut self, w: &mut World<'_>, v6: bool, call: &Call, again: bool) -> Result<Answer, Misuse> {
        let answer = self.dispatch(w, v6, call, again);
        w.drain();
        answer
    }

    fn dispatch(&mut self, w: &mut World<'_>, v6: bool, call: &Call, again: bool) -> Result<Answer, Misuse> {
        let args = Args(&call.args);
        let now = w.now;
        if call.name == "socket" {
            return match w.sockets.socket() {
                Ok(id) => {
                    self.give(call.result, id)?;
                    self.current.get_or_insert(call.result);
                    Ok(ok(call.result))
                }
                Err(e) => Ok(failed(e)),
            };
        }
        if call.name == "poll" {
            return self.poll(w, args);
        }
        let number = args.int(0)?;
        let fd = self.get(number)?;
        Ok(match call.name.as_str() {
            "bind" => of(w.sockets.bind(fd.id, args.address(1, v6, false)?)),
            "listen" => of(w.sockets.listen(fd.id, u32::try_from(args.int(1)?).map_err(|e| e.to_string())?)),
            "connect" if again => connected(w, fd.id),
            "connect" => {
                self.current = Some(number);
                let result = w.sockets.connect(now, fd.id, args.address(1, v6, true)?);
                if let Ok(local) = w.sockets.local_addr(fd.id) {
                    w.begins(local.port());
                }
                // As a kernel's socket that does not block: it has only begun.
                result.map_or_else(failed, |()| Answer::Failed("EINPROGRESS".into()))
            }
            "accept" | "accept4" => match w.sockets.accept(fd.id) {
                Ok((id, _)) => {
                    self.give(call.result, id)?;
                    self.current = Some(call.result);
                    ok(call.result)
                }
                Err(e) => failed(e),
            },
            "read" | "recv" => self.read(w, number, args, args.has("MSG_PEEK"))?,
            "write" | "send" => self.write(w, number, args)?,
            "shutdown" => {
                let how = match args.name(1)? {
                    "SHUT_RD" => Shutdown::Read,
                    "SHUT_WR" => Shutdown::Write,
                    "SHUT_RDWR" => Shutdown::Both,
                    other => return Err(format!("`{other}` is none of SHUT_RD, SHUT_WR, SHUT_RDWR")),
                };
                of(w.sockets.shutdown(now, fd.id, how))
            }
            "close" | "abort" => {
                self.open.remove(&number);
                of(if call.name == "close" { w.sockets.close(now, fd.id) } else { w.sockets.abort(now, fd.id) })
            }
            "fcntl" => ok(0),
            "ioctl" => {
                let found = match args.name(1)? {
                    "SIOCINQ" | "FIONREAD" => w.sockets.readable_bytes(fd.id),
                    "SIOCOUTQ" => w.sockets.unacked_bytes(fd.id),
                    other => return Err(format!("no ioctl is called `{other}` here: SIOCINQ, SIOCOUTQ")),
                };
                let want = args.list_int(2)?;
                match found {
                    Ok(n) if i64::from(n) == want => ok(0),
                    Ok(n) => Answer::Returned(0, Err(format!("it says {n}"))),
                    Err(e) => failed(e),
                }
            }
            "getsockopt" => {
                let want = match args.0.get(3) {
                    Some(Arg::List(list)) => match list.first() {
                        Some(Arg::Names(names)) => names.join("|"),
                        Some(Arg::Int(0)) => "0".to_owned(),
                        other => return Err(format!("expected [0] or an error's name, not {other:?}")),
                    },
                    _ => return Err("the fourth argument is a list".into()),
                };
                if args.name(2)? != "SO_ERROR" {
                    return Err("only SO_ERROR can be asked for: assertions see the rest".into());
                }
                match w.sockets.take_error(fd.id) {
                    Ok(reason) => {
                        let got = reason.map_or("0", |r| SocketError::Ended(r).errno_name());
                        let same = if got == want { Ok(()) } else { Err(format!("it says {got}")) };
                        Answer::Returned(0, same)
                    }
                    Err(e) => failed(e),
                }
            }
            "setsockopt" => self.setsockopt(w, fd.id, args)?,
            other => return Err(format!("no function is called `{other}`")),
        })
    }

    fn read(&mut self, w: &mut World<'_>, number: i64, args: Args<'_>, peek: bool) -> Result<Answer, Misuse> {
        let want = usize::try_from(args.int(2)?).map_err(|e| e.to_string())?;
        let mut buf = vec![0; want];
        let fd = self.get(number)?;
        let result = if peek { w.sockets.peek(w.now, fd.id, &mut buf) } else { w.sockets.recv(w.now, fd.id, &mut buf) };
        let n = match result {
            Ok(n) => n,
            Err(e) => return Ok(failed(e)),
        };
        let content = match args.0.get(1) {
            Some(Arg::Str(text)) => text == &buf[..n],
            _ => !w.patterned || (0..n).all(|i| buf[i] == pattern(fd.read.wrapping_add(i as u32))),
        };
        if !peek && let Some(fd) = self.open.get_mut(&number) {
            fd.read = fd.read.wrapping_add(n as u32);
        }
        let verdict = if content { Ok(()) } else { Err(format!("it read {:?}", String::from_utf8_lossy(&buf[..n]))) };
        Ok(Answer::Returned(n as i64, verdict))
    }

    fn write(&mut self, w: &mut World<'_>, number: i64, args: Args<'_>) -> Result<Answer, Misuse> {
        let len = usize::try_from(args.int(2)?).map_err(|e| e.to_string())?;
        let fd = self.get(number)?;
        let data: Vec<u8> = match args.0.get(1) {
            Some(Arg::Str(text)) => {
                w.patterned = false;
                text.iter().copied().cycle().take(len).collect()
            }
            _ => (0..len as u32).map(|i| pattern(fd.written.wrapping_add(i))).collect(),
        };
        match w.sockets.send(w.now, fd.id, &data) {
            Ok(n) => {
                if let Some(fd) = self.open.get_mut(&number) {
                    fd.written = fd.written.wrapping_add(n as u32);
                }
                Ok(ok(n as i64))
            }
            Err(e) => Ok(failed(e)),
        }
    }

    fn poll(&self, w: &World<'_>, args: Args<'_>) -> Result<Answer, Misuse> {
        let Some(Arg::List(list)) = args.0.first() else {
            return Err("the first argument is a list of structs".into());
        };
        let mut ready = 0;
        let mut wrong = Vec::new();
        for entry in list {
            let Arg::Struct(fields) = entry else { return Err("expected {fd=4, events=..., revents=...}".into()) };
            let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v);
            let Some(Arg::Int(number)) = field("fd") else { return Err("a poll entry has `fd`".into()) };
            let names = |name| match field(name) {
                Some(Arg::Names(names)) => names.clone(),
                _ => Vec::new(),
            };
            let r = w.sockets.ready(self.get(*number)?.id).map_err(|e| e.to_string())?;
            let asked = names("events");
            let mut got = Vec::new();
            for (name, set) in
                [("POLLIN", r.readable || r.read_closed), ("POLLOUT", r.writable), ("POLLRDHUP", r.read_closed)]
            {
                if set && asked.iter().any(|a| a == name) {
                    got.push(name);
                }
            }
            if r.ended {
                got.push("POLLHUP");
            }
            ready += i64::from(!got.is_empty());
            let mut want = names("revents");
            want.sort_unstable();
            got.sort_unstable();
            if want != got {
                wrong.push(format!(
                    "descriptor {number} has {}",
                    if got.is_empty() { "0".into() } else { got.join("|") }
                ));
            }
        }
        Ok(Answer::Returned(ready, if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }))
    }

    fn setsockopt(&mut self, w: &mut World<'_>, id: SocketId, args: Args<'_>) -> Result<Answer, Misuse> {
        let (level, name) = (args.name(1)?, args.name(2)?);
        if level == "SOL_LUNA" {
            let value = match args.0.get(3) {
                Some(Arg::List(list)) => match list.first() {
                    Some(Arg::Int(n)) => n.to_string(),
                    Some(Arg::Str(s)) => String::from_utf8_lossy(s).into_owned(),
                    _ => return Err("expected [1] or [\"200ms\"]".into()),
                },
                _ => return Err("expected [1] or [\"200ms\"]".into()),
            };
            let mut config = *w.sockets.config(id).map_err(|e| e.to_string())?;
            set_field(&mut config, name, &value)?;
            return Ok(of(w.sockets.set_config(w.now, id, &config)));
        }
        let number = || args.list_int(3).and_then(|n| u32::try_from(n).map_err(|e| e.to_string()));
        let option = match name {
            // Nothing to do: addresses are always reusable here (RFC 9293 leaves it to TIME-WAIT).
            "SO_REUSEADDR" => return Ok(ok(0)),
            "SO_LINGER" => {
                let Some(Arg::Struct(fields)) = args.0.get(3) else {
                    return Err("expected {onoff=1, linger=0}".into());
                };
                let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v);
                match (field("onoff"), field("linger")) {
                    (Some(Arg::Int(on)), Some(Arg::Int(0))) => SocketOption::LingerZero(*on != 0),
                    _ => return Err("only {onoff=0 or 1, linger=0}: nothing here waits".into()),
                }
            }
            "SO_RCVBUF" => SocketOption::ReceiveBuffer(number()?),
            "SO_SNDBUF" => SocketOption::SendBuffer(number()?),
            "TCP_NODELAY" => SocketOption::NoDelay(number()? != 0),
            "TCP_QUICKACK" => SocketOption::QuickAck(number()? != 0),
            "IP_TOS" | "IPV6_TCLASS" => SocketOption::Tos(u8::try_from(number()?).map_err(|e| e.to_string())?),
            "TCP_MAXSEG" => SocketOption::MaxSegment(u16::try_from(number()?).map_err(|e| e.to_string())?),
            "TCP_USER_TIMEOUT" => SocketOption::UserTimeout(Duration::from_millis(number()?.into())),
            "IP_TTL" | "IPV6_UNICAST_HOPS" => SocketOption::Ttl(u8::try_from(number()?).map_err(|e| e.to_string())?),
            other => {
                return Err(format!("no option is called `{other}` here; SOL_LUNA has every setting of a connection"));
            }
        };
        Ok(of(w.sockets.set_option(w.now, id, option)))
    }
}

/// What a `connect` that waits has come to.
fn connected(w: &mut World<'_>, id: SocketId) -> Answer {
    match w.sockets.ready(id) {
        Ok(r) if r.ended => match w.sockets.take_error(id) {
            Ok(Some(reason)) => failed(SocketError::Ended(reason)),
            _ => Answer::Failed("ECONNABORTED".into()),
        },
        Ok(r) if r.writable => ok(0),
        Ok(_) => Answer::Failed("EINPROGRESS".into()),
        Err(e) => failed(e),
    }
}

#[derive(Clone, Copy)]
struct Args<'a>(&'a [Arg]);

impl<'a> Args<'a> {
    fn int(self, i: usize) -> Result<i64, Misuse> {
        match self.0.get(i) {
            Some(Arg::Int(n)) => Ok(*n),
            other => Err(format!("argument {} is to be a number, not {other:?}", i + 1)),
        }
    }

    fn name(self, i: usize) -> Result<&'a str, Misuse> {
        match self.0.get(i) {
            Some(Arg::Names(names)) if names.len() == 1 => Ok(&names[0]),
            other => Err(format!("argument {} is to be a name, not {other:?}", i + 1)),
        }
    }

    fn has(self, name: &str) -> bool {
        self.0.iter().any(|a| matches!(a, Arg::Names(names) if names.iter().any(|n| n == name)))
    }

    fn list_int(self, i: usize) -> Result<i64, Misuse> {
        match self.0.get(i) {
            Some(Arg::List(list)) => Args(list).int(0),
            other => Err(format!("argument {} is to be `[number]`, not {other:?}", i + 1)),
        }
    }

    /// `...`, or `{port=8081}`.
    fn address(self, i: usize, v6: bool, remote: bool) -> Result<SocketAddr, Misuse> {
        let (_, theirs) = addresses(v6);
        let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let ip = if remote { theirs } else { any };
        match self.0.get(i) {
            Some(Arg::Ellipsis) => Ok((ip, PORT).into()),
            Some(Arg::Struct(fields)) => match fields.as_slice() {
                [(name, Arg::Int(port))] if name == "port" => {
                    Ok((ip, u16::try_from(*port).map_err(|e| e.to_string())?).into())
                }
                _ => Err("an address is `...` or {port=8081}".into()),
            },
            other => Err(format!("an address is `...` or {{port=8081}}, not {other:?}")),
        }
    }
}

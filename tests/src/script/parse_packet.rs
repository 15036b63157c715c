//! Packets: `S. 0:0(0) ack 1 win 65535 <mss 1460,nop,wscale 7>` and `[1:1001(1000)] icmp unreachable frag_needed mtu 1200`.

use super::ast::{Body, Damage, Ecn, FLAG_LETTERS, Icmp, IpFields, Packet, Segment, TcpOption};
use super::cursor::{Cursor, Result};
use super::icmp;
use super::source::SyntaxError;

/// What follows `<` (`inbound`) or `>`.
pub(super) fn packet(c: &mut Cursor<'_>, inbound: bool) -> Result<Packet> {
    let flow = if c.eat("#") { c.number("a flow's number")? } else { 1 };
    if flow == 0 {
        return c.fail("flows are counted from 1");
    }
    let mut ip = IpFields::default();
    let mut quoted = None;
    while c.eat("[") {
        if c.peek().is_some_and(|ch| ch.is_ascii_digit()) {
            quoted = Some(sequence(c)?);
            c.expect("]")?;
        } else {
            ip_fields(c, &mut ip, inbound)?;
        }
    }
    c.skip_space();
    let at = c.at();
    if c.eat_word("icmp") {
        if !inbound {
            return Err(SyntaxError::new(at, "Luna sends no ICMP: it can only arrive"));
        }
        let Some((seq, len)) = quoted else {
            return Err(SyntaxError::new(at, "say which segment it quotes: `[1:1001(1000)] icmp ...`"));
        };
        return Ok(Packet { flow, ip, body: Body::Icmp(icmp_message(c, seq, len)?) });
    }
    if quoted.is_some() {
        return c.fail("expected `icmp` behind the quoted segment");
    }
    Ok(Packet { flow, ip, body: Body::Tcp(segment(c, inbound)?) })
}

/// What stands in `[...]` before the flags.
fn ip_fields(c: &mut Cursor<'_>, ip: &mut IpFields, inbound: bool) -> Result<()> {
    loop {
        c.skip_space();
        let at = c.at();
        let only_in = |name: &str| {
            if inbound { Ok(()) } else { Err(SyntaxError::new(at, format!("`{name}` is for packets that arrive"))) }
        };
        match c.word("a field of the IP header")? {
            "noecn" => ip.ecn = Some(Ecn::NotEct),
            "ect0" => ip.ecn = Some(Ecn::Ect0),
            "ect1" => ip.ecn = Some(Ecn::Ect1),
            "ect01" if inbound => return Err(SyntaxError::new(at, "which of the two is to arrive: ect0 or ect1?")),
            "ect01" => ip.ecn = Some(Ecn::Ect01),
            "ce" => ip.ecn = Some(Ecn::Ce),
            "ttl" => ip.ttl = Some(c.number("a TTL")?),
            "df" => ip.df = Some(true),
            "nodf" => ip.df = Some(false),
            name @ ("hop_by_hop" | "routing" | "dest_opts" | "fragment" | "no_next_header") => {
                only_in(name)?;
                ip.extensions.push(icmp::extension(name).unwrap_or_default());
            }
            "mf" => {
                only_in("mf")?;
                ip.more_fragments = true;
            }
            name @ ("src" | "dst") => {
                only_in(name)?;
                let address = Some(address(c)?);
                *if name == "src" { &mut ip.src } else { &mut ip.dst } = address;
            }
            name @ ("sport" | "dport") => {
                let port = Some(c.number("a port")?);
                *if name == "sport" { &mut ip.sport } else { &mut ip.dport } = port;
            }
            other => {
                return Err(SyntaxError::new(
                    at,
                    format!(
                        "`{other}` is no field of the IP header here: there are noecn, ect0, ect1, ect01, ce, ttl, df, \
                         nodf, hop_by_hop, routing, dest_opts, fragment, no_next_header, mf, src, dst, sport, dport"
                    ),
                ));
            }
        }
        if c.eat("]") {
            return Ok(());
        }
        c.expect(",")?;
    }
}

fn address(c: &mut Cursor<'_>) -> Result<core::net::IpAddr> {
    c.skip_space();
    let rest = c.rest();
    let end = rest.find(|ch: char| !(ch.is_ascii_hexdigit() || ch == '.' || ch == ':')).unwrap_or(rest.len());
    let Ok(address) = rest[..end].parse() else { return c.fail("expected an IP address") };
    c.advance(end);
    Ok(address)
}

/// `first:end(len)`.
fn sequence(c: &mut Cursor<'_>) -> Result<(u32, u32)> {
    let first: u32 = c.number("a sequence number")?;
    c.expect(":")?;
    c.skip_space();
    let at = c.at();
    let end: u32 = c.number("the sequence number behind the last byte")?;
    c.expect("(")?;
    let len: u32 = c.number("the payload's length")?;
    c.expect(")")?;
    if first.wrapping_add(len) != end {
        return Err(SyntaxError::new(at, format!("{first} and {len} bytes make {}", first.wrapping_add(len))));
    }
    Ok((first, len))
}

fn segment(c: &mut Cursor<'_>, inbound: bool) -> Result<Segment> {
    let flags = flags(c)?;
    let (seq, len) = sequence(c)?;
    let mut s = Segment {
        flags,
        seq,
        len,
        ack: None,
        win: None,
        urg: None,
        options: Some(Vec::new()),
        data: None,
        damage: Damage::default(),
    };
    loop {
        c.skip_space();
        let at = c.at();
        // Options begin with `<`, and so does nothing else here: events begin with their time.
        if c.eat("<") {
            s.options = options(c)?;
            if inbound && s.options.is_none() {
                return Err(SyntaxError::new(at, "say which options arrive"));
            }
            let unsaid = |o: &TcpOption| matches!(o, TcpOption::Timestamps(None, _) | TcpOption::Timestamps(_, None));
            if inbound && s.options.iter().flatten().any(unsaid) {
                return Err(SyntaxError::new(at, "say which timestamps arrive"));
            }
            continue;
        }
        match c.peek_word() {
            "ack" => {
                c.eat_word("ack");
                s.ack = Some(c.number("an acknowledgment number")?);
            }
            "win" => {
                c.eat_word("win");
                s.win = Some(c.number("a window")?);
            }
            "urg" => {
                c.eat_word("urg");
                s.urg = Some(c.number("an urgent pointer")?);
            }
            "data" => {
                c.eat_word("data");
                let data = c.string()?;
                if data.is_empty() {
                    return Err(SyntaxError::new(at, "nothing to fill the payload with"));
                }
                s.data = Some(data);
            }
            "badsum" if inbound => {
                c.eat_word("badsum");
                s.damage.checksum = true;
            }
            "doff" if inbound => {
                c.eat_word("doff");
                s.damage.data_offset = Some(c.number::<u8>("a data offset").and_then(|n| {
                    if n < 16 { Ok(n) } else { Err(SyntaxError::new(at, "a data offset has four bits")) }
                })?);
            }
            "cut" if inbound => {
                c.eat_word("cut");
                s.damage.cut = Some(c.number("a length")?);
            }
            "" => break,
            other => {
                return c.fail(format!(
                    "`{other}` cannot stand here: a segment has `ack`, `win`, `urg`, `<options>`, `data`{}",
                    if inbound { ", `badsum`, `doff`, `cut`" } else { "" }
                ));
            }
        }
    }
    if inbound && s.win.is_none() {
        return c.fail("a segment that arrives says its window: `win 65535`");
    }
    Ok(s)
}

fn flags(c: &mut Cursor<'_>) -> Result<u16> {
    c.skip_space();
    if c.eat("-") {
        return Ok(0);
    }
    let mut flags = 0;
    let mut any = false;
    while let Some(ch) = c.rest().chars().next() {
        let Some(bit) = FLAG_LETTERS.iter().position(|&l| l == ch) else { break };
        if flags >> bit & 1 != 0 {
            return c.fail(format!("flag {ch} stands twice"));
        }
        flags |= 1 << bit;
        any = true;
        c.advance(1);
    }
    if !any || !c.rest().starts_with(char::is_whitespace) {
        return c.fail("expected TCP flags: letters of FSRP.UEWA (`.` is ACK), or `-` for none");
    }
    Ok(flags)
}

/// What follows `<`, up to and with `>`.
fn options(c: &mut Cursor<'_>) -> Result<Option<Vec<TcpOption>>> {
    if c.eat("...") {
        c.expect(">")?;
        return Ok(None);
    }
    c.skip_space();
    let at = c.at();
    let mut all = Vec::new();
    while !c.eat(">") {
        if !all.is_empty() {
            c.expect(",")?;
        }
        all.push(option(c)?);
    }
    let len: usize = all.iter().map(TcpOption::encoded_len).sum();
    if !len.is_multiple_of(4) {
        return Err(SyntaxError::new(
            at,
            format!("these options take {len} bytes: fill up to a multiple of 4 (`nop`)"),
        ));
    }
    if len > 40 {
        return Err(SyntaxError::new(at, format!("these options take {len} bytes: a header has room for 40")));
    }
    Ok(Some(all))
}

fn option(c: &mut Cursor<'_>) -> Result<TcpOption> {
    c.skip_space();
    let at = c.at();
    Ok(match c.word("a TCP option")? {
        "eol" => TcpOption::Eol,
        "nop" => TcpOption::Nop,
        "mss" => TcpOption::Mss(c.number("a segment size")?),
        "wscale" => TcpOption::WindowScale(c.number("a window scale")?),
        "sackOK" => TcpOption::SackOk,
        "sack" => {
            let mut blocks = Vec::new();
            while c.peek().is_some_and(|ch| ch.is_ascii_digit()) {
                let left = c.number("a sequence number")?;
                c.expect(":")?;
                blocks.push((left, c.number("a sequence number")?));
            }
            TcpOption::Sack(blocks)
        }
        "TS" => {
            let mut field = |name: &str| {
                if !c.eat_word(name) {
                    return c.fail(format!("expected `{name}`"));
                }
                if c.eat("*") { Ok(None) } else { c.number("a timestamp").map(Some) }
            };
            TcpOption::Timestamps(field("val")?, field("ecr")?)
        }
        "raw" => {
            let text = c.string()?;
            let digits: Vec<u8> = text.into_iter().filter(|b| !b.is_ascii_whitespace()).collect();
            let bytes: Option<Vec<u8>> = digits
                .chunks(2)
                .map(|pair| {
                    let pair = core::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?;
                    u8::from_str_radix(pair, 16).ok()
                })
                .collect();
            match bytes {
                Some(bytes) => TcpOption::Raw(bytes),
                None => return Err(SyntaxError::new(at, "expected pairs of hexadecimal digits")),
            }
        }
        other => {
            return Err(SyntaxError::new(
                at,
                format!("`{other}` is no option: there are mss, wscale, sackOK, sack, TS, nop, eol and raw \"hex\""),
            ));
        }
    })
}

fn icmp_message(c: &mut Cursor<'_>, seq: u32, len: u32) -> Result<Icmp> {
    c.skip_space();
    let at = c.at();
    let name = c.word("an ICMP type")?;
    let code = c.peek_word();
    let (kind, code) = match icmp::named(name, code) {
        Some(found) if !code.is_empty() && code != "mtu" => {
            c.eat_word(code);
            found
        }
        Some(found) => found,
        None => {
            return Err(SyntaxError::new(at, format!("no ICMP message is called `{name} {code}`; {}", icmp::names())));
        }
    };
    let mtu = if c.eat_word("mtu") { Some(c.number("an MTU")?) } else { None };
    Ok(Icmp { kind, code, mtu, seq, len })
}

use core::time::Duration;

use crate::script::ast::{Action, Arg, Body, Ecn, TcpOption, Time};
use crate::script::expr::Statement;
use crate::script::{Source, parse};

/// The packet of a script of one event, in the script's syntax again.
fn packet(text: &str) -> String {
    match &parse(text).unwrap().events[0].action {
        Action::Inbound(p) | Action::Outbound(p) => p.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Where, and what of the first mistake.
fn mistake(text: &str) -> String {
    let e = parse(text).expect_err("this is no script");
    e.explain(&Source::new("x.pkt", text)).lines().next().unwrap().to_owned()
}

#[test]
fn packets_come_out_as_they_went_in() {
    for text in [
        "S 0:0(0) win 65535 <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>",
        "S. 0:0(0) ack 1 win 0 urg 7 <mss 1460>",
        "P. 1:1001(1000) ack 1 win 257 <nop,nop,TS val 1 ecr 4294967295>",
        ". 1:1(0) ack 1 win 1 <nop,nop,sack 1001:2001 3001:4001>",
        "FSRPUEWA. 4294967295:1(2) ack 1 win 1",
        "- 5:5(0) win 1",
        "#3 R 5:5(0) win 1 <eol,raw \"1e0201\">",
    ] {
        assert_eq!(packet(&format!("0 < {text}")), text);
    }
    assert_eq!(packet("*>.1:1(0)ack 1<...>"[..].replace(".1", ". 1").as_str()), ". 1:1(0) ack 1 <...>");
    assert_eq!(packet("0 > . 1:1(0) ack 1 <nop,nop,TS val * ecr 3>"), ". 1:1(0) ack 1 <nop,nop,TS val * ecr 3>");
}

#[test]
fn times() {
    let ms = Duration::from_millis;
    for (text, time) in [
        ("0", Time::Absolute(ms(0), ms(0))),
        ("1.5", Time::Absolute(ms(1500), ms(1500))),
        ("+.005", Time::Relative(ms(5), ms(5))),
        ("+0~+.25", Time::Relative(ms(0), ms(250))),
        ("1~1.5", Time::Absolute(ms(1000), ms(1500))),
        ("*", Time::Any),
    ] {
        let script = parse(&format!("{text} > . 1:1(0) ack 1")).unwrap();
        assert_eq!(script.events[0].time, time, "{text}");
    }
    for (text, time) in
        [("0...0.25", Time::Waits(false, ms(0), ms(250))), ("+0.1...1", Time::Waits(true, ms(100), ms(1000)))]
    {
        assert_eq!(parse(&format!("{text} close(3) = 0")).unwrap().events[0].time, time);
    }
}

#[test]
fn a_whole_script() {
    let text = r#"// Comment.
        --preset=rfc --initial_window=2 /* and another */
        0 socket(..., SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3
        +0 setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0
        +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
        +.1 < [ce, ttl 3] P. 1:4(3) ack 1 win 5 <nop,nop,sack 1:2 5:6> data "ab\x00" badsum
        +0 < [1:1461(1460)] icmp unreachable frag_needed mtu 1200
        +0 %{ assert tcpi_cwnd == 10 * 1460 and not tcpi_rtos, "why"; use 4
              assert -1 < 0 }%
        +0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 1"#;
    let script = parse(text).unwrap();
    let settings: Vec<_> = script.settings.iter().map(|s| (s.name.as_str(), s.value.as_str())).collect();
    assert_eq!(settings, [("preset", "rfc"), ("initial_window", "2")]);
    assert_eq!(script.events.len(), 7);
    let Action::Call(connect) = &script.events[2].action else { panic!() };
    assert_eq!((connect.result, connect.errno.as_deref()), (-1, Some("EINPROGRESS")));
    assert_eq!(connect.args, [Arg::Int(3), Arg::Ellipsis, Arg::Ellipsis]);
    let Action::Inbound(p) = &script.events[3].action else { panic!() };
    let Body::Tcp(s) = &p.body else { panic!() };
    assert_eq!((p.ip.ecn, p.ip.ttl), (Some(Ecn::Ce), Some(3)));
    assert_eq!((s.data.as_deref(), s.damage.checksum), (Some(&b"ab\0"[..]), true));
    assert_eq!(s.options.as_ref().unwrap()[2], TcpOption::Sack(vec![(1, 2), (5, 6)]));
    let Action::Inbound(p) = &script.events[4].action else { panic!() };
    let Body::Icmp(m) = p.body else { panic!() };
    assert_eq!((m.kind, m.code, m.mtu, m.seq, m.len), (3, 4, Some(1200), 1, 1460));
    let Action::Check(statements) = &script.events[5].action else { panic!() };
    assert_eq!(statements.len(), 3);
    assert_eq!(statements[1], Statement::Use(4));
    assert_eq!(&text[script.events[2].text.clone()].split('(').next().unwrap(), &"+0 connect");
}

#[test]
fn mistakes_are_shown_where_they_are() {
    for (text, message) in [
        ("0 < S 0:0(1) win 1", "x.pkt:1:9: 0 and 1 bytes make 1"),
        ("0 < S 0:0(0)", "x.pkt:1:13: a segment that arrives says its window: `win 65535`"),
        ("0 < S 0:0(0) win 65536", "x.pkt:1:18: 65536 is out of range for a window"),
        ("\n  0 < Q 0:0(0) win 1", "x.pkt:2:7: expected TCP flags: letters of FSRP.UEWA (`.` is ACK), or `-` for none"),
        ("0 < SS 0:0(0) win 1", "x.pkt:1:6: flag S stands twice"),
        (
            "0 < S 0:0(0) win 1 <mss 1460,nop>",
            "x.pkt:1:21: these options take 5 bytes: fill up to a multiple of 4 (`nop`)",
        ),
        ("0 < S 0:0(0) win 1 <...>", "x.pkt:1:20: say which options arrive"),
        ("0 < . 1:1(0) ack 1 win 1 <nop,nop,TS val * ecr 0>", "x.pkt:1:26: say which timestamps arrive"),
        ("0 > [mf] S 0:0(0)", "x.pkt:1:6: `mf` is for packets that arrive"),
        ("0 > [1:2(1)] icmp unreachable frag_needed", "x.pkt:1:14: Luna sends no ICMP: it can only arrive"),
        ("0~1 < S 0:0(0) win 1", "x.pkt:1:1: this needs one moment"),
        ("+0~1 > S 0:0(0)", "x.pkt:1:4: both ends of a range are relative (`+a~+b`) or both are not"),
        ("+1~+0 > S 0:0(0)", "x.pkt:1:5: the range ends before it begins"),
        ("0 `ls`", "x.pkt:1:3: shell commands are not in this language: scripts run on a virtual clock"),
        ("0 close(3)", "x.pkt:1:11: expected `=`"),
        ("0 close(3) = -1 +1", "x.pkt:1:17: expected the error that goes with -1"),
        ("0 %{ assert 1 == }%", "x.pkt:1:18: expected a number, a name or `(`"),
        ("hello", "x.pkt:1:1: expected a time: `1.5`, `+.5` or `*`"),
        (
            "0 > S 0:0(0) foo",
            "x.pkt:1:14: `foo` cannot stand here: a segment has `ack`, `win`, `urg`, `<options>`, `data`",
        ),
        ("0 write(3, \"a", "x.pkt:1:14: the string does not end"),
        ("+.1234567890 > S 0:0(0)", "x.pkt:1:2: a time has at most nine decimals"),
    ] {
        assert_eq!(mistake(text), message, "{text}");
    }
    let e = parse("0 close(3) = 0\n\t\t1 close(4)").unwrap_err();
    let shown = e.explain(&Source::new("x.pkt", "0 close(3) = 0\n\t\t1 close(4)"));
    assert_eq!(shown, "x.pkt:2:13: expected `=`\n    \t\t1 close(4)\n    \t\t          ^");
}

#[test]
fn no_text_whatever_makes_the_parser_panic() {
    let whole = "--a=b 0 < [ce, ttl 3] S. 0:0(0) ack 1 win 5 <mss 5,raw \"0102\",sack 1:2,TS val 1 ecr 2> data \"\\x41\"\n\
                 +.5~+1 > . 1:1(0) <...>\n1...2 f([1], {a=b|c}, -1, ...) = -1 E (x)\n+0 %{ assert (1 + a) % 2, \"m\" }%";
    for end in 0..whole.len() {
        let _ = parse(&whole[..end]);
        for c in ["<", "\"", "9999999999999999999999", "é", "%{", "("] {
            let _ = parse(&format!("{}{c}{}", &whole[..end], &whole[end..]));
        }
    }
}

#[test]
fn expressions_bind_as_in_python() {
    let value = |text: &str| {
        let script = parse(&format!("0 %{{ assert {text} }}%")).unwrap();
        let Action::Check(statements) = &script.events[0].action else { panic!() };
        let Statement::Assert { condition, .. } = &statements[0] else { panic!() };
        condition.eval(&|name| (name == "x").then_some(7))
    };
    assert_eq!(value("1 + 2 * 3 == 7 and not 1 > 2"), Ok(1));
    assert_eq!(value("10 - 3 - 2"), Ok(5));
    assert_eq!(value("(10 - 3) * -2"), Ok(-14));
    assert_eq!(value("x / 2 + x % 4"), Ok(6));
    assert_eq!(value("0 or x >= 7 and x <= 7"), Ok(1));
    assert_eq!(value("1 / 0"), Err("`1 / 0` has no result".into()));
    assert_eq!(value("y"), Err("nobody knows `y`".into()));
}

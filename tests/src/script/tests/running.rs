//! The runner must fail what is wrong: each script here differs in one place from what Luna does.

use luna_core::tcp::State;

use crate::script::{Source, run};

const OPEN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 10) = 0
+.1 < S 0:0(0) win 65535 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.01 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
";

/// The first line of what is wrong with the rest of a script behind the handshake, without its place.
fn failure(rest: &str) -> String {
    let all = run(&Source::new("x.pkt", format!("{OPEN}{rest}"))).expect_err(rest);
    let first = all.lines().next().unwrap_or_default();
    let (place, message) = first.split_once(": ").unwrap();
    assert!(place.starts_with("x.pkt:"), "{place}");
    message.to_owned()
}

#[test]
fn a_right_script_passes() {
    let rest = "+0 < P. 1:101(100) ack 1 win 65535
        +0 read(4, ..., 1000) = 100
        +.2~+.5 > . 1:1(0) ack 101
        +0 write(4, ..., 10) = 10
        +0 > P. 1:11(10) ack 101
        +.1 < . 101:101(0) ack 11 win 65535
        1...2 read(4, ..., 50) = 50
        2 < P. 101:151(50) ack 11 win 65535
        +0.2 > . 11:11(0) ack 151
        +0 %{ assert tcpi_in_flight == 0 }%";
    let ways = run(&Source::new("x.pkt", format!("{OPEN}{rest}"))).unwrap();
    assert_eq!(ways.get(State::SynReceived, State::Established), 1);
}

#[test]
fn each_field_of_a_sent_segment_is_compared() {
    let write = "+0 write(4, ..., 10) = 10\n";
    for (expected, message) in [
        ("+0 > FP. 1:11(10) ack 1", "flags differs"),
        ("+0 > P. 2:12(10) ack 1", "seq differs"),
        ("+0 > P. 1:10(9) ack 1", "length differs"),
        ("+0 > P. 1:11(10) ack 2", "ack differs"),
        ("+0 > P. 1:11(10) ack 1 win 65534", "window differs"),
        ("+0 > P. 1:11(10) ack 1 urg 1", "urgent pointer differs"),
        ("+0 > P. 1:11(10) ack 1 <nop,nop,TS val 1 ecr 1>", "options differs"),
        ("+0 > P. 1:11(10) ack 1 data \"a\"", "content differs"),
        ("+0 > [ce] P. 1:11(10) ack 1", "ECN differs"),
        ("+0 > [ttl 3] P. 1:11(10) ack 1", "TTL differs"),
        ("+0 > [nodf] P. 1:11(10) ack 1", "DF differs"),
        ("+0 > [dport 5] P. 1:11(10) ack 1", "port differs"),
        ("+0 > #2 P. 1:11(10) ack 1", "sent to flow 1"),
        ("+1 > P. 1:11(10) ack 1", "1000000 µs too early"),
        ("+1 < . 1:1(0) ack 1 win 65535", "before this, a packet was sent that nobody expected"),
        ("", "at the end, a packet was sent that nobody expected"),
    ] {
        assert_eq!(failure(&format!("{write}{expected}")), message, "{expected}");
    }
}

#[test]
fn what_is_not_sent_is_missed() {
    assert_eq!(failure("+0 > . 1:1(0) ack 1"), "this was not sent by 0.110100");
    // The delayed acknowledgment comes after 200 ms.
    assert_eq!(failure("+0 < P. 1:101(100) ack 1 win 9\n+.1 > . 1:1(0) ack 101"), "this was not sent by 0.210100");
}

#[test]
fn calls_and_assertions_are_compared() {
    for (rest, message) in [
        ("+0 read(4, ..., 10) = 0", "this returned -1 EAGAIN, not 0"),
        ("+0 read(4, ..., 10) = -1 EPIPE", "this returned -1 EAGAIN, not -1 EPIPE"),
        ("+0 < P. 1:4(3) ack 1 win 9 data \"abc\"\n+0 read(4, \"abd\", 10) = 3", "it read \"abc\""),
        ("+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [EPIPE], [4]) = 0", "it says 0"),
        ("+0 ioctl(4, SIOCINQ, [5]) = 0", "it says 0"),
        ("+0 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 0", "descriptor 4 has 0"),
        ("+0 %{ assert tcpi_snd_wnd == 1 }%", "this is not so: tcpi_snd_wnd == 1, with tcpi_snd_wnd = 65535"),
        ("+0 %{ assert 1 > 2, \"or is it\" }%", "or is it: 1 > 2, with "),
        ("+0 %{ assert tcpi_nonsense }%", "nobody knows `tcpi_nonsense`"),
        ("+0 read(5, ..., 10) = 0", "descriptor 5 is not open"),
        ("+0 frobnicate(4) = 0", "no function is called `frobnicate`"),
        ("0.05 close(4) = 0", "this is in the past: it is 0.110000 already"),
        ("+0...0.3 read(4, ..., 10) = 10", "this call has not returned"),
        ("+0...0.5 read(4, ..., 10) = 10\n+.1 < P. 1:11(10) ack 1 win 9", "this returned 400000 µs too early"),
    ] {
        assert_eq!(failure(rest), message, "{rest}");
    }
}

#[test]
fn settings_are_checked() {
    for (head, message) in [
        ("--presets=rfc", "no setting is called `presets`; connections have"),
        ("--preset=fast", "no preset is called `fast`; there are rfc, datacenter and interop"),
        ("--min_rto=5", "`5` is not a time with its unit: 200ms, 1s, 50us"),
        ("--initial_window=70000", "`70000` is not a number that fits u16"),
    ] {
        let all = run(&Source::new("x.pkt", format!("{head}\n{OPEN}"))).expect_err(head);
        assert!(all.starts_with(&format!("x.pkt:1:1: {message}")), "{all}");
    }
}

#[test]
fn each_number_of_an_option_is_compared() {
    let open = OPEN
        .replace("win 65535 <mss 1000>", "win 65535 <mss 1000,sackOK,TS val 5 ecr 0,nop,wscale 2>")
        .replace("ack 1 win 65535\n", "ack 1 win 65535 <nop,nop,TS val 6 ecr 100>\n");
    let syn_ack = "<mss 1460,sackOK,TS val 100 ecr 5,nop,wscale 4>";
    let ack = "<nop,nop,TS val 110 ecr 6,nop,nop,sack 1001:2001>";
    let outcome = |syn_ack: &str, ack: &str| {
        let open = open.replace("<mss 1460>", syn_ack);
        let gap = "+0 < . 1001:2001(1000) ack 1 win 65535 <nop,nop,TS val 6 ecr 100>\n+0 > . 1:1(0) ack 1 ";
        run(&Source::new("x.pkt", format!("{open}{gap}{ack}")))
    };
    outcome(syn_ack, ack).unwrap();
    outcome("<...>", "<nop,nop,TS val * ecr 6,nop,nop,sack 1001:2001>").unwrap();
    let wrong = |right: &str, from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replace(from, to)
    };
    for (from, to) in [("1460", "1461"), ("ecr 5", "ecr 6"), ("wscale 4", "wscale 3"), ("sackOK", "nop,nop")] {
        let why = outcome(&wrong(syn_ack, from, to), ack).expect_err(to);
        assert!(why.starts_with("x.pkt:5:1: options differs"), "{why}");
    }
    for (from, to) in [
        ("val 110", "val 111"),
        ("ecr 6", "ecr 5"),
        ("1001:2001", "1001:2000"),
        ("1001:2001", "1000:2001"),
        ("1001:2001", "1001:2001 3001:4001"),
        ("nop,nop,TS val 110 ecr 6", "TS val 110 ecr 6,nop,nop"),
    ] {
        let why = outcome(syn_ack, &wrong(ack, from, to)).expect_err(to);
        assert!(why.starts_with("x.pkt:9:1: options differs"), "{why}");
    }
}

#[test]
fn times_are_compared_to_the_tolerance_and_no_further() {
    // The delayed acknowledgment: 200 ms after the data, and at most a tick of the wheel.
    let at = |head: &str, time: &str| {
        let rest = format!("+0 < P. 1:101(100) ack 1 win 65535\n{time} > . 1:1(0) ack 101");
        run(&Source::new("x.pkt", format!("{head}{OPEN}{rest}")))
    };
    at("", "+.2").unwrap();
    at("", "+.1~+.3").unwrap();
    at("--tolerance_usecs=500\n", "+.1997").unwrap();
    for (time, why) in [("+.1998", "this was not sent by"), ("+.2002", "µs too early"), ("+.1~+.1998", "not sent by")]
    {
        let said = at("", time).expect_err(time);
        assert!(said.contains(why), "{said}");
    }
}

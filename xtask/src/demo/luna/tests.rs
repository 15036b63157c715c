use super::*;
use serde_json::json;

#[test]
fn the_last_object_counts() {
    let stdout = "luna serve: ready on 198.18.0.1:7480\n{\"a\":1}\n17\n{\"a\":2}\nbye\n";
    assert_eq!(json_of(stdout).unwrap(), json!({"a": 2}));
    assert_eq!(json_of("ready\n{\n  \"a\": {\n    \"b\": 3\n  }\n}\n").unwrap(), json!({"a": {"b": 3}}));
    assert!(json_of("ready {\n{broken\n").is_err());
}

#[test]
fn counters_of_both_sides_add_up_and_unknown_stays_unknown() {
    let client = json!({"tcp": {"retransmits": 2, "rtos": 0}, "copies": {"tx_per_byte": 0.0, "rx_per_byte": 1.0}});
    let server = json!({"tcp": {"retransmits": 3, "rtos": 1}});
    let both = health(&[&client], &server);
    assert_eq!(both, Health { retransmits: Some(5), rtos: Some(1), copies: Some((0.0, 1.0)) });
    let getter = json!({"tcp": {"retransmits": 1, "rtos": 0}, "copies": {"tx_per_byte": 7.0, "rx_per_byte": 2.0}});
    let three = health(&[&client, &getter], &server);
    assert_eq!(three, Health { retransmits: Some(6), rtos: Some(1), copies: Some((0.0, 2.0)) });
    assert_eq!(health(&[&client], &json!({})).retransmits, None);
}

#[test]
fn a_row_without_its_numbers_is_an_error() {
    let good = json!({"rps": 1000.5, "latency_ns": {"p50": 9000, "p99": 21000}, "errors": 0});
    let made = row(Link::Memif, 16, &good, &json!({})).unwrap();
    assert_eq!((made.rps, made.p50_us, made.p99_us), (1000.5, 9.0, 21.0));
    let message = row(Link::Memif, 16, &json!({"rps": 1, "errors": 0}), &json!({})).unwrap_err().to_string();
    assert!(message.contains("/latency_ns/p50"), "{message}");
}

#[test]
fn wrong_answers_are_an_error() {
    let bad = json!({"rps": 1.0, "latency_ns": {"p50": 1, "p99": 2}, "errors": 3});
    let message = row(Link::AfXdp, 1, &bad, &json!({})).unwrap_err().to_string();
    assert!(message.starts_with("3 requests"), "{message}");
}

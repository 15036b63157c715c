use super::*;

const POLICY: &str =
    "[licenses]\nallow = ['MIT', 'Apache-2.0', 'BSD-3-Clause']\n[sources]\nallow-registry = ['https://registry']\n";

fn complaints(license: &str, source: &str) -> Vec<String> {
    let package = format!(r#"{{"name":"thing","version":"1.2.3","license":{license},"source":{source}}}"#);
    compare(POLICY, &format!(r#"{{"packages":[{package}]}}"#)).unwrap().1.into_iter().collect()
}

#[test]
fn one_of_an_or_and_all_of_an_and() {
    assert!(complaints("\"MIT OR GPL-3.0-only\"", "null").is_empty());
    assert!(complaints("\"(MIT OR GPL-3.0-only) AND BSD-3-Clause\"", "null").is_empty());
    assert_eq!(complaints("\"MIT AND GPL-3.0-only\"", "null"), ["thing 1.2.3 is under MIT AND GPL-3.0-only"]);
}

#[test]
fn the_old_slash_means_or() {
    assert!(complaints("\"MIT/Apache-2.0\"", "null").is_empty());
}

#[test]
fn no_licence_is_a_complaint() {
    assert_eq!(complaints("null", "null"), ["thing 1.2.3 names no licence"]);
}

#[test]
fn only_listed_registries() {
    assert!(complaints("\"MIT\"", "\"registry+https://registry\"").is_empty());
    assert_eq!(complaints("\"MIT\"", "\"git+https://elsewhere\""), ["thing 1.2.3 comes from git+https://elsewhere"]);
}

#[test]
fn an_exception_is_for_one_crate_and_goes_with_it() {
    let policy = |name: &str| {
        let exception = format!("[[licenses.exceptions]]\ncrate = '{name}'\nallow = ['MPL-2.0']\n");
        POLICY.replace("[sources]", &format!("{exception}[sources]"))
    };
    let of = |policy: &str| {
        let package = r#"{"name":"thing","version":"1.2.3","license":"MPL-2.0","source":null}"#;
        let (_, complaints) = compare(policy, &format!(r#"{{"packages":[{package}]}}"#)).unwrap();
        complaints.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(of(&policy("thing")), [""; 0]);
    let gone = "deny.toml has an exception for other, which nothing depends on";
    assert_eq!(of(&policy("other")), [gone, "thing 1.2.3 is under MPL-2.0"]);
}

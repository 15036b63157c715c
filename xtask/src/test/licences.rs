//! Licences and sources of all dependencies against `deny.toml`, from `cargo metadata`. The same file serves
//! cargo-deny, which adds advisories; this needs nothing installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spdx::{Expression, Licensee};

use super::runner::Runner;
use crate::cargo;
use crate::process;

#[cfg(test)]
mod tests;

#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// What one crate may be under besides.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// An error that names every dependency outside the policy.
pub(crate) fn check(runner: &mut Runner) -> Result<()> {
    let path = cargo::root().join("deny.toml");
    let policy = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = cargo::root().join("Cargo.toml");
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let args = ["metadata", "--format-version", "1", "--all-features", "--locked", "--manifest-path"];
    let metadata = process::output(&program, &[&args[..], &[&manifest.to_string_lossy()]].concat())?;
    let (count, complaints) = compare(&policy, &metadata)?;
    runner.say(&format!("{count} packages compared with deny.toml"));
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{}", complaints.into_iter().collect::<Vec<_>>().join("; "))
}

fn compare(policy: &str, metadata: &str) -> Result<(usize, BTreeSet<String>)> {
    let policy: Policy = toml::from_str(policy).context("deny.toml")?;
    let metadata: Metadata = serde_json::from_str(metadata).context("cargo metadata")?;
    let licensees = |ids: &[String]| -> Result<Vec<Licensee>> {
        ids.iter().map(|id| Licensee::parse(id).with_context(|| format!("deny.toml: {id}"))).collect()
    };
    let allowed = licensees(&policy.licenses.allow)?;
    let mut exceptions = BTreeMap::new();
    for Exception { name, allow } in &policy.licenses.exceptions {
        exceptions.insert(name.as_str(), licensees(allow)?);
    }
    let complain = |package: &Package| {
        let name = format!("{} {}", package.name, package.version);
        let Some(license) = &package.license else {
            return Some(format!("{name} names no licence"));
        };
        let Ok(expression) = Expression::parse_mode(license, spdx::ParseMode::LAX) else {
            return Some(format!("{name}: cannot read its licence \"{license}\""));
        };
        let besides = exceptions.get(package.name.as_str()).into_iter().flatten();
        let may = allowed.iter().chain(besides);
        if !expression.evaluate(|requirement| may.clone().any(|licensee| licensee.satisfies(requirement))) {
            return Some(format!("{name} is under {license}"));
        }
        let source = package.source.as_deref()?;
        let known = policy.sources.allow_registry.iter().any(|registry| source == format!("registry+{registry}"));
        (!known).then(|| format!("{name} comes from {source}"))
    };
    let mut complaints: BTreeSet<String> = metadata.packages.iter().filter_map(complain).collect();
    // A crate that is gone takes its exception with it.
    let unused = exceptions.keys().filter(|name| !metadata.packages.iter().any(|package| package.name == **name));
    complaints.extend(unused.map(|name| format!("deny.toml has an exception for {name}, which nothing depends on")));
    Ok((metadata.packages.len(), complaints))
}

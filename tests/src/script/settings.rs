//! `--name=value` at a script's head: the preset, single fields of [`TcpConfig`], and what surrounds the stack.

use core::str::FromStr;

use luna_core::tcp::congestion::CongestionKind;
use luna_core::tcp::{Ecn, TcpConfig};
use luna_core::time::Duration;

use super::ast::Setting;
use super::source::SyntaxError;

/// Everything that a script can set before it begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings of connections.
    pub tcp: TcpConfig,
    /// IPv6 instead of IPv4.
    pub v6: bool,
    /// The link's MTU.
    pub mtu: u16,
    /// How far a packet's time may be off. Luna's timers fire at the end of a tick of 33 µs, two levels of the wheel at most.
    pub tolerance: core::time::Duration,
    /// Connections that there is room for.
    pub connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tcp: TcpConfig::RFC,
            v6: false,
            mtu: 1500,
            tolerance: core::time::Duration::from_micros(100),
            connections: 64,
        }
    }
}

/// What a setting's value can be.
trait Value: Sized {
    /// What to say when it is not.
    const WHAT: &'static str;
    fn read(text: &str) -> Option<Self>;
}

impl Value for bool {
    const WHAT: &'static str = "0 or 1";
    fn read(text: &str) -> Option<Self> {
        match text {
            "0" | "false" => Some(false),
            // An option without value turns on.
            "1" | "true" | "" => Some(true),
            _ => None,
        }
    }
}

/// A number with `k` or `M` (1024, 1024²) behind it, or none.
fn integer<T: FromStr + TryFrom<u64>>(text: &str) -> Option<T> {
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1024),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    T::try_from(digits.parse::<u64>().ok()?.checked_mul(unit)?).ok()
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Value for $t {
            const WHAT: &'static str = concat!("a number that fits ", stringify!($t));
            fn read(text: &str) -> Option<Self> {
                integer(text)
            }
        }
    )*};
}

integers!(u8, u16, u32, usize);

impl Value for Duration {
    const WHAT: &'static str = "a time with its unit: 200ms, 1s, 50us";
    fn read(text: &str) -> Option<Self> {
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let n: u64 = text[..split].parse().ok()?;
        Some(match &text[split..] {
            "us" => Self::from_micros(n),
            "ms" => Self::from_millis(n),
            "s" => Self::from_secs(n),
            "h" => Self::from_secs(n.checked_mul(3600)?),
            _ => return None,
        })
    }
}

impl Value for CongestionKind {
    const WHAT: &'static str = "newreno, cubic, dctcp or hpcc";
    fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Value for Ecn {
    const WHAT: &'static str = "off, accept or request";
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "off" => Self::Off,
            "accept" => Self::Accept,
            "request" => Self::Request,
            _ => return None,
        })
    }
}

impl<T: Value> Value for Option<T> {
    const WHAT: &'static str = T::WHAT;
    fn read(text: &str) -> Option<Self> {
        if text == "auto" { Some(None) } else { T::read(text).map(Some) }
    }
}

fn put<T: Value>(field: &mut T, value: &str) -> Result<(), String> {
    *field = T::read(value).ok_or_else(|| format!("`{value}` is not {}", T::WHAT))?;
    Ok(())
}

macro_rules! fields {
    ($($field:ident),* $(,)?) => {
        /// Names of the fields that can be set one by one.
        const FIELDS: &[&str] = &[$(stringify!($field)),*];

        /// Sets the field `name` of `config`.
        ///
        /// # Errors
        /// There is no such field, or that is no value of it.
        pub fn set_field(config: &mut TcpConfig, name: &str, value: &str) -> Result<(), String> {
            match name {
                $(stringify!($field) => put(&mut config.$field, value),)*
                _ => Err(format!("no setting is called `{name}`; connections have {}", FIELDS.join(", "))),
            }
        }
    };
}

fields! {
    rcv_wnd,
    rcv_budget,
    snd_buf,
    max_mss,
    default_mss,
    default_mss_v6,
    initial_window,
    min_rto,
    max_rto,
    initial_rto,
    max_ack_delay,
    min_pto,
    probe_new_data,
    probe_repairs,
    rack,
    clock_granularity,
    ack_delay,
    ack_ratio,
    syn_retries,
    connect_timeout,
    user_timeout,
    zero_window_timeout,
    keepalive_idle,
    keepalive_interval,
    keepalive_count,
    black_hole_timeouts,
    pmtu_raise,
    time_wait,
    fin_wait_2,
    timestamps,
    sack,
    window_scaling,
    window_scale,
    nagle,
    ttl,
    tos,
    syn_cookies,
    congestion,
    black_hole_timeouts,
    pmtu_raise,
    ecn,
}

impl Settings {
    /// Takes in what a script's head says, in order.
    ///
    /// # Errors
    /// The first that does not exist or has no such value.
    pub fn from_script(settings: &[Setting]) -> Result<Self, SyntaxError> {
        let mut all = Self::default();
        for s in settings {
            all.apply(&s.name, &s.value).map_err(|message| SyntaxError::new(s.at, message))?;
        }
        Ok(all)
    }

    fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "preset" => {
                self.tcp = match value {
                    "rfc" => TcpConfig::RFC,
                    "datacenter" => TcpConfig::DATACENTER,
                    "interop" => TcpConfig::INTEROP,
                    _ => return Err(format!("no preset is called `{value}`; there are rfc, datacenter and interop")),
                };
                Ok(())
            }
            "ip_version" => match value {
                "ipv4" | "ipv6" => {
                    self.v6 = value == "ipv6";
                    Ok(())
                }
                _ => Err(format!("`{value}` is neither ipv4 nor ipv6")),
            },
            "mtu" => put(&mut self.mtu, value),
            "connections" => put(&mut self.connections, value),
            "tolerance_usecs" => {
                let mut micros = 0_u32;
                put(&mut micros, value)?;
                self.tolerance = core::time::Duration::from_micros(micros.into());
                Ok(())
            }
            _ => set_field(&mut self.tcp, name, value),
        }
    }
}

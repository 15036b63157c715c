//! Settings of sockets. Each socket refers to a profile of the stack; a change makes (or finds) the profile that differs in
//! it, so that connections keep one byte.

use super::recv::Accounting;
use super::table::{Phase, SocketId};
use super::{SocketError, Sockets};
use crate::tcp::congestion::CongestionKind;
use crate::tcp::{Ecn, ProfileId, TcpConfig};
use crate::time::{Duration, Instant};

/// A setting of one socket; a listener's are inherited by what it accepts. [`Sockets::set_config`] sets all the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketOption {
    /// Send small segments at once (`TCP_NODELAY`): Nagle's algorithm off.
    NoDelay(bool),
    /// Upper bound of the segment size, announced in our SYN (`TCP_MAXSEG`); before connecting.
    MaxSegment(u16),
    /// Give up when data is not acknowledged for so long (`TCP_USER_TIMEOUT`).
    UserTimeout(Duration),
    /// Bytes of unread data, and the largest window (`SO_RCVBUF`, not doubled).
    ReceiveBuffer(u32),
    /// Bytes queued for sending (`SO_SNDBUF`, not doubled).
    SendBuffer(u32),
    /// IPv4 TTL, IPv6 hop limit (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    Ttl(u8),
    /// IPv4 type of service, IPv6 traffic class (`IP_TOS`, `IPV6_TCLASS`), without the two bits of ECN.
    Tos(u8),
    /// Acknowledge every segment (`TCP_QUICKACK`, but it stays).
    QuickAck(bool),
    /// `close` resets (`SO_LINGER` with time 0).
    LingerZero(bool),
    /// Probe a silent peer (`SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`), or do not.
    KeepAlive(Option<KeepAlive>),
    /// The congestion controller (`TCP_CONGESTION`); before connecting.
    Congestion(CongestionKind),
    /// Explicit congestion notification; before connecting.
    Ecn(Ecn),
}

/// When to ask whether a silent peer is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// After so long a silence.
    pub idle: Duration,
    /// Then at this interval.
    pub interval: Duration,
    /// So many questions may stay unanswered.
    pub count: u8,
}

/// What is really set: with byte accounting the budget follows from the window.
pub(super) fn effective(config: &TcpConfig, accounting: Accounting) -> TcpConfig {
    match accounting {
        Accounting::TrueSize => *config,
        Accounting::Bytes => TcpConfig { rcv_budget: config.rcv_wnd.saturating_mul(Accounting::BYTE), ..*config },
    }
}

impl Sockets<'_> {
    /// Sets one setting. What both ends agreed on when they connected does not change any more.
    ///
    /// # Errors
    /// [`SocketError`]: a value out of range, too many different settings.
    pub fn set_option(&mut self, now: Instant, id: SocketId, option: SocketOption) -> Result<(), SocketError> {
        let slot = self.find(id)?;
        let mut c = *self.config(id)?;
        match option {
            SocketOption::LingerZero(on) => {
                self.table.slots.at_mut(slot).linger_zero = on;
                return Ok(());
            }
            SocketOption::MaxSegment(0) | SocketOption::Ttl(0) => return Err(SocketError::InvalidValue),
            SocketOption::ReceiveBuffer(0) | SocketOption::SendBuffer(0) => return Err(SocketError::InvalidValue),
            SocketOption::NoDelay(on) => c.nagle = !on,
            SocketOption::MaxSegment(n) => c.max_mss = n,
            SocketOption::UserTimeout(d) => c.user_timeout = d,
            SocketOption::ReceiveBuffer(n) => {
                c.rcv_budget = c.rcv_budget.max(n.saturating_mul(Accounting::BYTE));
                c.rcv_wnd = n;
            }
            SocketOption::SendBuffer(n) => c.snd_buf = n,
            SocketOption::Ttl(ttl) => c.ttl = ttl,
            SocketOption::Tos(tos) => c.tos = tos,
            SocketOption::KeepAlive(Some(KeepAlive { idle, interval, count })) => {
                if idle.is_zero() || interval.is_zero() || count == 0 {
                    return Err(SocketError::InvalidValue);
                }
                (c.keepalive_idle, c.keepalive_interval, c.keepalive_count) = (idle, interval, count);
            }
            SocketOption::KeepAlive(None) => c.keepalive_idle = Duration::ZERO,
            SocketOption::Congestion(_) | SocketOption::Ecn(_) if self.table.slots.at(slot).is_connected() => {
                return Err(SocketError::InvalidState);
            }
            SocketOption::Congestion(kind) => c.congestion = kind,
            SocketOption::Ecn(ecn) => c.ecn = ecn,
            SocketOption::QuickAck(on) => c.ack_ratio = if on { 1 } else { 2 },
        }
        self.set_config(now, id, &c)
    }

    /// Sets all settings.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn set_config(&mut self, now: Instant, id: SocketId, config: &TcpConfig) -> Result<(), SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        let config = effective(config, self.table.accounting);
        let profile = self.stack.add_profile(&config).map_err(|_| SocketError::NoProfile)?;
        let s = self.table.slots.at_mut(slot);
        let mut cx = self.stack.cx(self.now);
        match s.phase {
            // Neither the connection nor the listener of a socket is ever stale.
            Phase::Connecting(conn) | Phase::Open(conn) => drop(cx.set_profile(conn, profile)),
            Phase::Listening(listener) => drop(cx.set_listener_profile(listener, profile)),
            Phase::Free | Phase::Unconnected | Phase::Ended(_) => {}
        }
        let old = core::mem::replace(&mut s.profile, profile);
        cx.drop_profile(old);
        self.pump();
        Ok(())
    }

    /// The settings that hold.
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn config(&self, id: SocketId) -> Result<&TcpConfig, SocketError> {
        let slot = self.find(id)?;
        self.stack.profile(self.table.slots.at(slot).profile).ok_or(SocketError::Stale)
    }

    /// Keeps a set of settings for [`Sockets::set_profile`].
    ///
    /// # Errors
    /// [`SocketError::NoProfile`].
    pub fn add_profile(&mut self, config: &TcpConfig) -> Result<ProfileId, SocketError> {
        let config = effective(config, self.table.accounting);
        self.stack.add_profile(&config).map_err(|_| SocketError::NoProfile)
    }

    /// Gives a socket the settings of a profile.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn set_profile(&mut self, now: Instant, id: SocketId, profile: ProfileId) -> Result<(), SocketError> {
        let config = *self.stack.profile(profile).ok_or(SocketError::InvalidValue)?;
        self.set_config(now, id, &config)
    }

    /// Gives a profile back; sockets that have it keep it.
    pub fn remove_profile(&mut self, profile: ProfileId) -> bool {
        self.stack.remove_profile(profile)
    }
}

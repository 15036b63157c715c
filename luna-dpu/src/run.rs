//! The loop of a core that has nothing else to do.

use luna_core::nic::NicQueue;
use luna_core::stack::{App, Stack, Turn};
use luna_core::time::{Clock, Instant};

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Another turn.
    No,
    /// Leave [`run`].
    Yes,
}

/// Turns `stack` until `between` says stop. `between` runs after every turn, with the moment until which there is
/// nothing to do (`None`: turn again at once): the place for `wfe`, a watchdog, or the application's own work.
pub fn run<Q, C, A>(
    stack: &mut Stack<'_, Q>,
    clock: &C,
    budget: usize,
    app: &mut A,
    mut between: impl FnMut(&mut Stack<'_, Q>, &mut A, Option<Instant>) -> Stop,
) where
    Q: NicQueue,
    C: Clock,
    A: App<Q>,
{
    loop {
        let idle = match stack.turn(clock.now(), budget, app) {
            Turn::Busy => None,
            Turn::IdleUntil(t) => Some(t),
        };
        if between(stack, app, idle) == Stop::Yes {
            return;
        }
    }
}

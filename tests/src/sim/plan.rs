//! From a seed to a run's plan: hosts, network, faults, flows. Everything random about a run but the faults' dice is here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use luna_core::tcp::TcpConfig;
use luna_core::time::Duration;
use luna_core::wire::MacAddr;

use super::arena::TableSizes;
use super::events::Time;
use super::faults::Faults;
use super::flow::{CLIENT, Chunks, Ending, FlowPlan, Half, Opening, Reader, SERVER};
use super::link::LinkConfig;
use super::rng::Rng;
use super::worlds::World;

/// A microsecond.
pub const US: Time = 1_000;
/// A millisecond.
pub const MS: Time = 1_000_000;
/// A second.
pub const S: Time = 1_000_000_000;
/// The stream of choices about the kind of world.
const WORLD: u64 = 50;
/// What at least passes in each direction of every run.
pub const LEAST: u64 = 1 << 20;

/// A CPU with the stacks that share it.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// What a turn takes at least.
    pub turn: Time,
    /// And for each frame.
    pub per_frame: Time,
    /// From a frame's arrival to being looked at, at most.
    pub poll: Time,
    /// The CPU is taken away once in so many turns, and for at most so long.
    pub stolen: Option<(u64, Time)>,
}

/// A stack and its port.
#[derive(Clone, Debug)]
pub struct StackPlan {
    /// Its host.
    pub host: usize,
    /// Settings.
    pub tcp: TcpConfig,
    /// Largest IP packet of its port.
    pub mtu: u16,
    /// The port does checksums.
    pub offload: bool,
    /// Segments of a frame that the port takes.
    pub tx_segments: u8,
    /// Frames that wait to be taken, at most.
    pub rx_ring: usize,
    /// Frames that wait to be sent, at most.
    pub tx_ring: usize,
    /// Its clock at the run's begin.
    pub clock: u64,
    /// Its clock goes in steps of this.
    pub tick: u64,
    /// Its tables.
    pub tables: TableSizes,
    /// Objs of its pools (receive, headers, data) that are taken away from the start: tiny pools.
    pub withheld: [usize; 3],
    /// Size of the objs that its application sends from.
    pub data_obj: u32,
    /// Neighbours are known from the start, or answered so much later.
    pub neighbor_delay: Option<Time>,
    /// Frames that a turn takes in.
    pub budget: usize,
    /// Its port.
    pub link: LinkConfig,
}

/// Something that happens to the network.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// This stack's port carries nothing, in (0), out (1) or both (2), for so long.
    Dead(usize, u8, Time),
    /// The MTU of this stack's port falls to this for so long.
    SmallMtu(usize, u16, Time),
    /// The same for ever.
    Narrow(usize, u16),
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// No fault, no congestion, no stolen CPU: nothing may be sent twice.
    pub calm: bool,
    /// CPUs.
    pub hosts: Vec<HostPlan>,
    /// Stacks.
    pub stacks: Vec<StackPlan>,
    /// Of all frames.
    pub vlan: Option<u16>,
    /// The link between two switches, when there are two.
    pub trunk: Option<LinkConfig>,
    /// Buffer that a switch's ports share.
    pub shared_buffer: Option<u64>,
    /// When something happens to the network.
    pub troubles: Vec<(Time, Trouble)>,
    /// Frames made up by an attacker: how many, and when the last.
    pub forged: (u32, Time),
    /// Connections.
    pub flows: Vec<FlowPlan>,
    /// Short frames are padded.
    pub pad: bool,
    /// Stacks' invariants are checked once in so many turns.
    pub check_every: u64,
    /// What kind of world it is.
    pub world: World,
}

/// The addresses of a stack.
#[must_use]
pub fn addrs(stack: usize) -> [IpAddr; 2] {
    let n = stack as u8 + 1;
    [IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into()))]
}

/// The hardware address of a stack.
#[must_use]
pub fn mac(stack: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, stack as u8 + 1])
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let calm = rng.one_in(6);
        let hosts: Vec<_> = (0..2).map(|_| host(&mut rng, calm)).collect();
        let count = if rng.one_in(4) { rng.range(3, 4) as usize } else { 2 };
        let dies = !calm && rng.one_in(12);
        let flow_count = if rng.one_in(2) { 1 } else { rng.range(2, 6) as usize };
        let flow_count = flow_count + usize::from(dies);
        let mtu = rng.pick(&[1500, 1500, 1500, 9000, 1280, 1400]);
        let preset = rng.below(5);
        let faults = if calm { Faults::default() } else { faults(&mut rng) };
        let stacks: Vec<_> =
            (0..count).map(|i| stack(&mut rng, i, calm, preset, mtu, flow_count as u64, faults, dies)).collect();
        let flows = flows(&mut rng, &stacks, flow_count, calm, dies);
        let troubles = if calm || dies || rng.one_in(2) { Vec::new() } else { troubles(&mut rng, count) };
        let trunk = rng.one_in(3).then(|| link(&mut rng, calm, faults));
        let mut plan = Self {
            calm,
            hosts,
            stacks,
            vlan: rng.one_in(4).then(|| rng.range(1, 4094) as u16),
            trunk,
            shared_buffer: (!calm && rng.one_in(4)).then(|| rng.range(20_000, 400_000)),
            troubles,
            forged: if calm || rng.one_in(2) { (0, 0) } else { (rng.range(1, 60) as u32, rng.range(5, 300) * MS) },
            flows,
            pad: rng.one_in(2),
            check_every: if rng.one_in(10) { 1 } else { 16 },
            world: World::default(),
        };
        plan.set_world(&mut Rng::new(seed).fork(WORLD));
        plan
    }
}

fn host(rng: &mut Rng, calm: bool) -> HostPlan {
    let stolen = (!calm && rng.one_in(3)).then(|| (rng.range(20, 2000), rng.range(1, 40) * MS));
    HostPlan {
        turn: rng.range(200, 3000),
        per_frame: rng.range(50, if calm { 500 } else { 3000 }),
        poll: rng.range(1, 5 * US),
        stolen,
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let small = |rng: &mut Rng| rng.pick(&[200, 1_000, 5_000, 10_000, 30_000]);
    let mut f = Faults { reorder_by: rng.range(10, 3000) * US, ..Faults::default() };
    if rng.one_in(2) {
        f.loss = rng.pick(&[100, 1_000, 1_000, 10_000, 10_000, 50_000, 100_000]);
    }
    if rng.one_in(4) {
        f.burst =
            Some((rng.range(200, 10_000) as u32, rng.range(50_000, 500_000) as u32, rng.pick(&[500_000, 900_000])));
    }
    if rng.one_in(3) {
        f.reorder = small(rng);
    }
    if rng.one_in(4) {
        f.duplicate = small(rng);
    }
    if rng.one_in(4) {
        f.corrupt = small(rng);
    }
    f
}

fn link(rng: &mut Rng, calm: bool, faults: Faults) -> LinkConfig {
    let rate = if calm { rng.pick(&[1, 10, 25, 100]) * 1000 } else { rng.pick(&[50, 100, 1_000, 10_000, 25_000]) };
    let delay = if calm { rng.range(1, 200) * US } else { rng.pick(&[2 * US, 20 * US, 100 * US, MS, 5 * MS, 20 * MS]) };
    let jitter = if rng.one_in(3) { rng.range(1, if calm { 50 } else { 2000 }) * US } else { 0 };
    // What a switch's port has, or a home's; enough for every window when all is to be calm.
    let queue = if calm { 8 << 20 } else { rng.pick(&[20_000, 60_000, 200_000, 1 << 20, 8 << 20]) };
    let ecn_threshold = rng.one_in(2).then(|| rng.pick(&[15_000, 30_000, 100_000]));
    LinkConfig {
        rate: rate * 1_000_000,
        delay,
        jitter,
        jitter_reorders: !calm && rng.one_in(4),
        queue,
        mtu: u16::MAX,
        ecn_threshold,
        faults,
    }
}

fn tcp(rng: &mut Rng, calm: bool, preset: u64, flows: u64, dies: bool) -> TcpConfig {
    let base = if preset == 0 { TcpConfig::INTEROP } else { TcpConfig::DATACENTER };
    let windows: &[u32] = if calm {
        &[16 << 10, 32 << 10, 65_535, 64 << 10]
    } else {
        &[2000, 8 << 10, 32 << 10, 65_535, 65_535, 128 << 10, 512 << 10]
    };
    let most = ((1 << 20) / 2 / flows) as u32;
    let rcv_wnd = rng.pick(windows).min(most);
    let odd = rng.one_in(3);
    let mut off = |n: u64| !(odd && rng.one_in(n));
    let (timestamps, sack, window_scaling) = (off(2), off(3), off(3));
    TcpConfig {
        rcv_wnd,
        rcv_budget: (rcv_wnd * 2).max(24 << 10),
        snd_buf: rng.pick(&[32 << 10, 64 << 10, 256 << 10, 1 << 20]),
        max_mss: match rng.below(40) {
            0 => 88,
            1..=3 => 536,
            4..=6 => rng.range(600, 1460) as u16,
            _ => 0,
        },
        initial_window: rng.pick(&[1, 2, 4, 10, 32]),
        max_rto: Duration::from_secs(if preset == 0 { 2 } else { 1 }),
        ack_ratio: rng.pick(&[1, 2, 2, 2, 4]),
        connect_timeout: Duration::from_secs(if dies { 20 } else { 30 }),
        user_timeout: Duration::from_secs(if dies { 20 } else { 120 }),
        time_wait: Duration::from_millis(rng.range(50, 2000)),
        fin_wait_2: Duration::from_secs(if dies { 20 } else { 60 }),
        timestamps,
        sack,
        window_scaling,
        nagle: rng.one_in(5),
        ..base
    }
}

#[expect(clippy::too_many_arguments, reason = "each is a choice made once for the whole run")]
fn stack(
    rng: &mut Rng,
    index: usize,
    calm: bool,
    preset: u64,
    mtu: u16,
    flows: u64,
    faults: Faults,
    dies: bool,
) -> StackPlan {
    let tcp = tcp(rng, calm, preset, flows, dies);
    let tiny = !calm && rng.one_in(6);
    let mut tables = TableSizes::MOST;
    let mut withheld = [0; 3];
    if tiny {
        let mut some = |all: &mut usize, choices: &[usize]| *all = rng.pick(choices);
        some(&mut tables.sends, &[16, 64, 4096]);
        some(&mut tables.segments, &[4, 16, 100, 8192]);
        some(&mut tables.out_of_order, &[8, 64, 1024]);
        some(&mut withheld[1], &[0, 4000]);
    }
    // Windows reach beyond 2^32 ms and other edges of the clock's narrower kin.
    let wrap = (1u64 << 32) * MS;
    let clock = rng.pick(&[0, S, wrap - 50 * MS, wrap / 2 - 50 * MS, 1 << 50]);
    StackPlan {
        host: index % 2,
        tcp,
        mtu: if rng.one_in(5) { rng.pick(&[1280, 1500, 4000]) } else { mtu },
        offload: rng.one_in(2),
        tx_segments: rng.pick(&[2, 4, 4, 18, 18]),
        rx_ring: if calm { 4096 } else { rng.pick(&[32, 256, 1024]) },
        tx_ring: if calm { 1024 } else { rng.pick(&[8, 64, 512]) },
        clock,
        tick: rng.pick(&[1, 1, 1000, 20_000]),
        tables,
        withheld,
        data_obj: rng.pick(&[512, 2048, 2048, 4096, 16 << 10, 16 << 10]),
        neighbor_delay: if rng.one_in(2) { None } else { Some(if rng.one_in(2) { 0 } else { rng.range(1, 20 * MS) }) },
        budget: rng.pick(&[16, 64, 256]),
        link: link(rng, calm, faults),
    }
}

fn troubles(rng: &mut Rng, stacks: usize) -> Vec<(Time, Trouble)> {
    (0..rng.range(1, 4))
        .map(|_| {
            let at = rng.range(0, 400) * MS;
            let stack = rng.below(stacks as u64) as usize;
            let longest = if rng.one_in(4) { 3000 } else { 200 };
            let time = rng.range(1, longest) * MS;
            let what = if rng.one_in(3) {
                Trouble::SmallMtu(stack, rng.range(300, 1200) as u16, time)
            } else {
                Trouble::Dead(stack, rng.below(3) as u8, time)
            };
            (at, what)
        })
        .collect()
}

fn reader(rng: &mut Rng, total: u64, calm: bool) -> Reader {
    match rng.below(8) {
        // Whoever keeps small pieces of large objs makes the stack drop what it granted a window for.
        _ if calm => Reader::Prompt,
        0 => Reader::Holds(rng.range(1, 2000) * US),
        1 => Reader::Stops(rng.below(total), rng.range(1, 300) * MS),
        _ => Reader::Prompt,
    }
}

fn half(rng: &mut Rng, total: u64, snd_buf: u32, calm: bool) -> Half {
    let most = (16 << 10).min(snd_buf / 2);
    let chunks = match rng.below(6) {
        0 => Chunks::Fixed(rng.pick(&[1000, 1448, 4096, most])),
        1 => Chunks::Bytes(rng.range(1, 400) as u32),
        2 => Chunks::Headed(most),
        _ => Chunks::UpTo(most),
    };
    let rest = rng.one_in(4).then(|| (rng.below(total), rng.range(1, 500) * MS));
    Half { total, chunks, reader: reader(rng, total, calm), rest, foreign: false }
}

fn flows(rng: &mut Rng, stacks: &[StackPlan], count: usize, calm: bool, dies: bool) -> Vec<FlowPlan> {
    (0..count)
        .map(|i| {
            let client = rng.below(stacks.len() as u64) as usize;
            let server = (client + 1 + rng.below(stacks.len() as u64 - 1) as usize) % stacks.len();
            let family = usize::from(rng.one_in(3));
            let port = 7000 + i as u16;
            let opening = match rng.below(12) {
                0 => Opening::Simultaneous,
                1 if i > 0 => Opening::Refused,
                _ => Opening::Usual,
            };
            let client_port = if opening == Opening::Simultaneous || rng.one_in(3) { 40_000 + i as u16 } else { 0 };
            // The first one carries what every run must; the others are company.
            let size = |rng: &mut Rng| if i == 0 { LEAST + rng.below(1 << 16) } else { rng.range(1, 96 << 10) };
            let totals = [size(rng), size(rng)];
            let ending = match rng.below(10) {
                _ if dies && i + 1 == count => Ending::PathDies,
                0 if i > 0 => Ending::Aborts(rng.below(2) as usize, rng.below(totals[0].min(totals[1]))),
                1 if i > 0 => Ending::ClosesEarly(rng.below(2) as usize, rng.below(totals[0].min(totals[1]))),
                0..=3 => Ending::Closes(rng.below(2) as usize),
                4 | 5 => Ending::BothClose,
                6 | 7 => Ending::HalfCloses(rng.below(2) as usize),
                _ => Ending::BothShutDown,
            };
            let mut halves = [CLIENT, SERVER].map(|s| {
                let stack = [client, server][s];
                half(rng, totals[s], stacks[stack].tcp.snd_buf, calm)
            });
            if !calm
                && ending.complete()
                && !matches!(ending, Ending::HalfCloses(_) | Ending::BothShutDown)
                && rng.one_in(8)
            {
                halves[SERVER] =
                    Half { total: halves[CLIENT].total, reader: Reader::Echoes, rest: None, ..halves[SERVER] };
            }
            FlowPlan {
                stacks: [client, server],
                addrs: [
                    SocketAddr::new(addrs(client)[family], client_port),
                    SocketAddr::new(addrs(server)[family], port),
                ],
                start: if i == 0 || calm && rng.one_in(2) { 0 } else { rng.below(30 * MS) },
                opening,
                ending,
                halves,
            }
        })
        .collect()
}

//! Setting a run up: stacks with their ports and tables, switches and links, the first events.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use luna_core::Counters;
use luna_core::nic::{Caps, MAX_TSO_PAYLOAD};
use luna_core::stack::{Bind, Cidr, PathConfig, Stack, StackConfig};
use luna_core::time::Instant;

use super::app::{Shared, SimApp};
use super::arena::Tables;
use super::events::{Events, Time};
use super::flow::{Flow, Opening, SERVER};
use super::link::{Link, LinkConfig, Node};
use super::log::Log;
use super::monitor::Monitor;
use super::nic::{SimQueue, Wire};
use super::plan::{MS, Plan, S, addrs, mac};
use super::rng::Rng;
use super::switch::Switch;
use super::world::{Adversity, Event, Host, Pools, StackSim, World};

impl<'m> World<'m> {
    /// A run that has not begun.
    #[must_use]
    pub fn new(seed: u64, plan: Plan, pools: &'m [Pools], tables: &'m mut [Tables], keep_log: bool) -> Self {
        let rng = Rng::new(seed);
        let now = Rc::new(Cell::new(0));
        let shared = Rc::new(RefCell::new(Shared {
            flows: plan
                .flows
                .iter()
                .enumerate()
                .map(|(i, f)| Flow { cookies: plan.gives_cookies(f), ..Flow::new(i, f.clone()) })
                .collect(),
            neighbors: (0..plan.stacks.len()).flat_map(|i| addrs(i).map(|a| (a, mac(i)))).collect(),
            notes: keep_log.then(Vec::new),
            ..Shared::default()
        }));
        let hosts = (0..plan.hosts.len()).map(|i| Host { free_at: 0, rng: rng.fork(100 + i as u64) }).collect();
        let mut world = Self {
            hosts,
            now,
            shared,
            stacks: Vec::new(),
            links: Vec::new(),
            switches: Vec::new(),
            monitor: Monitor::default(),
            log: if keep_log { Log::full() } else { Log::default() },
            adversity: Adversity::default(),
            attacker: super::attack::Attacker::new(rng.fork(7)),
            routers_rng: rng.fork(8),
            narrowed: vec![u16::MAX; plan.stacks.len()],
            over_since: None,
            dead_since: None,
            trouble_until: 0,
            count: 0,
            events: Events::default(),
            plan,
        };
        for (i, (pools, tables)) in pools.iter().zip(tables).enumerate() {
            world.add_stack(i, pools, tables, &rng);
        }
        world.connect_switches(&rng);
        world.schedule();
        world
    }

    fn add_stack(&mut self, i: usize, pools: &'m Pools, tables: &'m mut Tables, rng: &Rng) {
        let plan = &self.plan.stacks[i];
        let wire = Rc::new(RefCell::new(Wire { rx_ring: plan.rx_ring, tx_ring: plan.tx_ring, ..Wire::default() }));
        // Drawn apart, so that plans stay what they were.
        let tso = match rng.fork(400 + i as u64).draw() % 4 {
            0 if plan.offload => MAX_TSO_PAYLOAD,
            1 if plan.offload => 5000,
            _ => 0,
        };
        let caps = Caps {
            mac: mac(i),
            mtu: plan.mtu,
            max_tx_segments: plan.tx_segments,
            tx_checksum: plan.offload,
            foreign: true,
            prompt_completion: true,
            max_tso_payload: tso,
            max_tso_payload_v6: tso,
        };
        let queue = SimQueue::new(wire.clone(), caps, &pools.rx, &pools.headers, self.plan.pad);
        let mut key = [0; 32];
        let mut secret = rng.fork(200 + i as u64);
        key.chunks_exact_mut(8).for_each(|c| c.copy_from_slice(&secret.draw().to_le_bytes()));
        let config = StackConfig { id: i as u8, seed: key, tcp: plan.tcp };
        let local = Instant::from_nanos(plan.clock / plan.tick * plan.tick);
        let mut stack = Stack::new(config, tables.lend(plan.tables), local).expect("the tables' sizes fit");
        let mut path = PathConfig { vlan: self.plan.vlan, ..PathConfig::default() };
        for (addr, prefix) in addrs(i).into_iter().zip([24, 64]) {
            path.addrs.push(Cidr { addr, prefix }).expect("room for two addresses");
        }
        let path = stack.add_path(queue, path).expect("a usable path");
        let mut withheld = Vec::new();
        for (pool, n) in [&pools.rx, &pools.headers, &pools.data].into_iter().zip(plan.withheld) {
            withheld.extend((0..n).map_while(|_| pool.alloc()));
        }
        {
            let mut cx = stack.cx(local);
            for (flow, f) in self.plan.flows.iter().enumerate() {
                if f.stacks[SERVER] == i && f.opening == Opening::Usual {
                    let mut bind = Bind::port(f.addrs[SERVER].port());
                    bind.addr = (flow % 2 == 0).then(|| f.addrs[SERVER].ip());
                    bind.backlog = 8;
                    cx.listen(bind, flow as u64).expect("room for a listener");
                }
            }
            if plan.neighbor_delay.is_none() {
                for (ip, mac) in &self.shared.borrow().neighbors {
                    assert!(cx.neighbor(path, *ip, Some(*mac)), "room for every neighbour");
                }
            }
        }
        let app = SimApp {
            stack: i,
            now: self.now.clone(),
            shared: self.shared.clone(),
            data: &pools.data,
            share: pools.data.available().saturating_sub(super::app::MAX_FRAGS) / self.plan.flows.len(),
            rng: rng.fork(300 + i as u64),
            conns: Vec::new(),
            again: Vec::new(),
            wake: Time::MAX,
            neighbor_delay: plan.neighbor_delay.unwrap_or(0),
            neighbors_wanted: Vec::new(),
        };
        let generation = 0;
        let (uplink, downlink) = (i * 2, i * 2 + 1);
        let next_turn = Time::MAX;
        self.stacks.push(StackSim {
            stack,
            app,
            wire,
            pools,
            uplink,
            downlink,
            generation,
            next_turn,
            turns: 0,
            idle_turns: 0,
            counted: Counters::default(),
            withheld,
        });
        let config = plan.link;
        // The ring in front of a NIC's port bounds it.
        let up = LinkConfig { queue: u64::MAX, ecn_threshold: None, ..config };
        let switch = Node::Switch(if self.plan.trunk.is_some() { i % 2 } else { 0 });
        self.links.push(Link::new(up, Node::Stack(i), switch, rng.fork(400 + i as u64)));
        self.links.push(Link::new(config, switch, Node::Stack(i), rng.fork(500 + i as u64)));
    }

    fn connect_switches(&mut self, rng: &Rng) {
        let count = if self.plan.trunk.is_some() { 2 } else { 1 };
        let trunk = self.links.len();
        if let Some(config) = self.plan.trunk {
            for k in 0..2 {
                let ends = (Node::Switch(k), Node::Switch(1 - k));
                self.links.push(Link::new(config, ends.0, ends.1, rng.fork(600 + k as u64)));
            }
        }
        for k in 0..count {
            let mut switch = Switch {
                shared_buffer: self.plan.shared_buffer,
                latency: if self.plan.calm { 0 } else { 500 },
                ..Switch::default()
            };
            for i in 0..self.stacks.len() {
                let here = count == 1 || i % 2 == k;
                switch.table.push((mac(i), if here { self.stacks[i].downlink } else { trunk + k }));
            }
            switch.ports = self.links.iter().enumerate().filter(|l| l.1.from == Node::Switch(k)).map(|l| l.0).collect();
            self.switches.push(switch);
        }
    }

    fn schedule(&mut self) {
        for (i, f) in self.plan.flows.iter().enumerate() {
            self.events.at(f.start, Event::Start(i));
        }
        for (i, (at, _)) in self.plan.troubles.iter().enumerate() {
            self.events.at(*at, Event::Trouble(i));
        }
        if let Some(flood) = self.plan.world.flood {
            self.events.at(flood.time.0, Event::Flood);
        }
        if self.plan.forged.0 > 0 {
            self.events.at(MS, Event::Forge);
        }
        self.events.at(S, Event::Watch);
        for i in 0..self.stacks.len() {
            self.turn_at(i, 0);
        }
    }
}

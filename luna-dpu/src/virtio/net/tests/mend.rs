//! Devices that ask for a reset, were reset, or are gone.

use super::*;
use crate::meeting::Meeting;

/// More looks than pass between two of the status register.
const LOOKS: usize = 600;

/// A queue with its device, and what takes care of both.
struct Care {
    bench: Bench,
    mender: Mender<'static, 'static, FakeNet>,
}

impl Care {
    fn every() -> impl Iterator<Item = Self> {
        let layouts = [Features::NONE, feature::RING_PACKED, feature::EVENT_IDX];
        layouts.into_iter().map(Self::new)
    }

    fn new(offers: Features) -> Self {
        let (bench, device) = Bench::with_device(offers.or(feature::NET_CSUM));
        let meeting = Box::leak(Box::default());
        Self { bench, mender: Mender::new(Some(device), [7; 40], meeting, 1) }
    }

    /// Looks as an idle core does; how often the device was started again.
    fn idle(&mut self) -> Result<usize, MendError> {
        let mut started = 0;
        for _ in 0..LOOKS {
            if self.mender.look(&mut self.bench.queue)? {
                started += 1;
                self.bench.meet_again();
                assert!(self.bench.poll().is_empty());
            }
        }
        Ok(started)
    }

    /// A frame each way.
    fn works(&mut self) {
        let b = &mut self.bench;
        b.receive(0, 1, &[9; 60], 72);
        assert_eq!(b.poll().len(), 1);
        b.queue.tx(b.header(&[1; 60]).into(), &[], PLAIN).unwrap();
        b.queue.flush();
        assert_eq!(b.tx.take().unwrap().buffers[0].len, 72);
        b.tx.give(0, 0).unwrap();
        assert_eq!(b.queue.reap(), 1);
        assert_eq!((b.rx_pool.outstanding(), b.header_pool.outstanding()), (usize::from(SIZE), 0));
    }
}

#[test]
fn a_device_that_asks_for_a_reset_or_was_reset_is_started_again() {
    for mut c in Care::every() {
        c.bench.poll();
        c.works();
        assert_eq!(c.idle(), Ok(0), "nothing is wrong");
        let (agreed, queues) = (c.bench.net.accepted.get(), c.bench.net.queues.borrow().clone());
        for told in [status::DRIVER_OK | status::NEEDS_RESET, 0, 0xff, status::FAILED] {
            // Under way, both ways: it has returned some, and says nothing more.
            let payload = Frag::from(c.bench.rx_pool.alloc().unwrap().freeze());
            for _ in 0..2 {
                c.bench.queue.tx(c.bench.header(&[1; 60]).into(), &[payload.lend()], PLAIN).unwrap();
            }
            drop(payload);
            c.bench.queue.flush();
            c.bench.receive(0, 1, &[9; 60], 72);
            c.bench.net.queues.borrow().clear();
            c.bench.net.status.set(told);
            assert_eq!(c.idle(), Ok(1), "status {told:#x}");
            assert_eq!(c.bench.net.status.get(), 15, "acknowledged, driven, agreed on, at work");
            assert_eq!((c.bench.net.accepted.get(), c.bench.net.queues.borrow().clone()), (agreed, queues.clone()));
            assert_eq!(c.bench.queue.in_flight(), (usize::from(SIZE), 0), "posted anew; nothing to send");
            assert_eq!(c.bench.header_pool.outstanding(), 0, "what it held came back");
            assert_eq!(c.bench.rx_pool.outstanding(), usize::from(SIZE));
            c.works();
        }
    }
}

/// Of a frame in several buffers the first had come; the rest never will.
#[test]
fn half_a_frame_goes_with_the_device() {
    let mut c = Care::new(feature::NET_MRG_RXBUF);
    c.bench.poll();
    c.bench.receive(0, 3, &[1; 60], 72);
    assert!(c.bench.poll().is_empty());
    c.bench.net.status.set(status::NEEDS_RESET);
    assert_eq!(c.idle(), Ok(1));
    c.works();
}

/// A ring that was given up is as good as new.
#[test]
fn a_fault_ends_with_a_reset() {
    for mut c in Care::every() {
        c.bench.poll();
        c.bench.tx.say_used(3, 0, 1);
        assert_eq!(c.bench.queue.reap(), 0);
        assert!(c.bench.queue.fault().is_some());
        c.bench.net.status.set(0);
        assert_eq!(c.idle(), Ok(1));
        assert!(c.bench.queue.fault().is_none());
        c.works();
    }
}

#[test]
fn one_that_does_not_come_back_keeps_what_it_may_write_to() {
    for mut c in Care::every() {
        c.bench.poll();
        c.bench.net.jammed.set(true);
        c.bench.net.status.set(0xff);
        assert_eq!(c.idle(), Err(MendError::Device(InitError::NoReset)));
        assert_eq!(c.bench.rx_pool.outstanding(), usize::from(SIZE), "never used again");
        assert_eq!(c.idle(), Err(MendError::Core), "for good");
    }
    let mut c = Care::new(feature::NET_GUEST_CSUM);
    c.bench.net.gone.set(feature::NET_GUEST_CSUM);
    c.bench.net.status.set(0);
    assert_eq!(c.idle(), Err(MendError::Device(InitError::Missing(feature::NET_GUEST_CSUM))), "another device");
}

#[test]
fn resets_that_are_of_no_use_come_to_an_end() {
    let mut c = Care::new(Features::NONE);
    c.bench.poll();
    for _ in 0..10 {
        c.bench.net.status.set(status::NEEDS_RESET);
        assert_eq!(c.idle(), Ok(1), "it works in between");
        c.works();
    }
    for _ in 0..3 {
        c.bench.net.status.set(status::NEEDS_RESET);
        assert_eq!(c.idle(), Ok(1));
    }
    c.bench.net.status.set(status::NEEDS_RESET);
    assert_eq!(c.idle(), Err(MendError::Again));
}

/// A register's read makes an emulated device slow: idle cores do it now and then, others never.
#[test]
fn the_status_is_read_now_and_then() {
    let mut c = Care::new(Features::NONE);
    c.bench.poll();
    c.bench.net.looks.set(0);
    for _ in 0..256 * 10 {
        assert_eq!(c.mender.look(&mut c.bench.queue), Ok(false));
        c.bench.queue.reap();
        c.bench.poll();
    }
    assert_eq!(c.bench.net.looks.get(), 10);
}

/// Two cores: whichever notices, both let go before the reset and begin behind it.
#[test]
fn all_cores_let_go_of_a_device_before_it_is_reset() {
    let net = FakeNet::new(feature::NET_MQ.or(feature::NET_CTRL_VQ));
    let mut area = area(1 << 16);
    let mut device = device(&net, NetConfig { pairs: 2, ..NetConfig::default() }, &mut area).unwrap();
    let pairs = [(); 2].map(|()| device.pair(&mut area, SIZE, SIZE).unwrap());
    let commands = Common::<u32>::default();
    let serve = |commands: Common<u32>, mut ring: FakeDevice| {
        std::thread::spawn(move || {
            loop {
                if let Some(chain) = ring.take() {
                    // SAFETY: the byte for the answer.
                    unsafe { pointer(chain.buffers[1].addr.0).write_volatile(0) };
                    *commands.borrow() += 1;
                    return ring.give(0, 1).map(drop).unwrap();
                }
                std::thread::yield_now();
            }
        })
    };
    let answering = serve(commands.clone(), net.ring(8));
    device.start(&[7; 40]).unwrap();
    answering.join().unwrap();
    let meeting: &'static Meeting = Box::leak(Box::default());
    let mut devices = [Some(device), None].into_iter();
    let cores = pairs.map(|pair| {
        let (device, net) = (devices.next().unwrap(), net.clone());
        let first = device.is_some();
        let device = Moved(device);
        let commands = commands.clone();
        std::thread::spawn(move || {
            // Whole, not its field.
            let Moved(device) = { device };
            let (rx_pool, header_pool) = (pool(2048), pool(512));
            let memory = QueueMemory { rx: nodes(SIZE), tx: nodes(SIZE) };
            let mut queue = pair.open(memory, rx_pool, header_pool, Coherent).unwrap();
            let mut burst = RxBurst::new();
            queue.rx_burst(&mut burst);
            let mut mender = Mender::new(device, [7; 40], meeting, 2);
            if !first {
                net.status.set(status::NEEDS_RESET);
            }
            while !mender.look(&mut queue).unwrap() {}
            assert_eq!((queue.in_flight(), rx_pool.outstanding()), ((0, 0), 0), "all came back");
            queue.rx_burst(&mut burst);
            assert_eq!((queue.in_flight().0, rx_pool.outstanding()), (usize::from(SIZE), usize::from(SIZE)));
            assert_eq!((net.status.get(), commands.get()), (15, 2), "at work, and told of its pairs");
            // The other one is still at it.
            core::mem::forget(mender);
        })
    });
    // A device that looks at its control queue afresh, once it was told of all queues again.
    while net.queues.borrow().len() < 2 * 5 {
        std::thread::yield_now();
    }
    serve(commands, net.ring(8)).join().unwrap();
    for core in cores {
        core.join().unwrap();
    }
}

/// The device goes to the core that begins with it.
struct Moved<T>(T);
// SAFETY: as on a board, where core 0 sets the device up and goes on with it: it moves before anybody uses it there.
unsafe impl<T> Send for Moved<T> {}

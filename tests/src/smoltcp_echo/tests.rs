use super::*;

#[test]
fn every_byte_comes_back() {
    let links =
        [(1500, Driving::Split, 6), (1500, Driving::Poll, 8), (9000, Driving::Split, 2), (9000, Driving::Poll, 4)];
    for (mtu, driving, frames) in links {
        for (depth, checksums) in [(1, true), (16, false)] {
            let mut echo = SmoltcpEcho::new(Scenario::new(4096, mtu, depth, checksums), driving);
            echo.run_verified(50);
            echo.run(50);
            let before = echo.report();
            echo.run_verified(50);
            echo.assert_healthy();
            let report = echo.report();
            assert_eq!((report.rpcs, report.payload), (150, 150 * 8192));
            assert!(report.frames - before.frames <= 50 * frames + 2, "acknowledgments ride on data: {report:?}");
        }
    }
}

#[test]
#[should_panic(expected = "as it was sent")]
fn a_wrong_byte_is_noticed() {
    let mut echo = SmoltcpEcho::new(Scenario::GATE, Driving::Split);
    echo.request();
    let now = echo.now;
    echo.client.egress(now);
    echo.server.ingress(now);
    assert!(echo.server.answer(&mut echo.received));
    echo.server.egress(now);
    echo.client.ingress(now);
    *echo.message.last_mut().unwrap() ^= 1;
    echo.client.take_response(&echo.message, true);
}

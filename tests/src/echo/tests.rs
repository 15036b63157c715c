use super::*;

fn scenarios() -> impl Iterator<Item = Scenario> {
    let sizes = [1, 64, 4096, 32 << 10];
    let all = sizes.into_iter().flat_map(|size| [1500, 9000].map(|mtu| (size, mtu)));
    all.flat_map(|(size, mtu)| [1, 16].map(|depth| Scenario::new(size, mtu, depth, depth == 1)))
}

#[test]
fn every_byte_comes_back_and_the_books_balance() {
    for scenario in scenarios() {
        let mut echo = EchoPair::new(scenario);
        echo.run_verified(50);
        echo.run(50);
        echo.run_verified(50);
        let report = echo.report();
        assert_eq!(report.rpcs, 150);
        assert!(report.frames >= 300 / scenario.depth as u64, "{report:?}");
        echo.assert_healthy();
    }
}

#[test]
fn another_buffer_comes_back_and_digests_are_verified() {
    for (size, depth) in [(64, 1), (64, 16), (4096, 1), (4096, 16), (64 << 10, 1)] {
        let mut echo =
            EchoPair::new(Scenario { answer: Answer::Touch, digest: true, ..Scenario::new(size, 1500, depth, false) });
        echo.run_verified(50);
        echo.run(50);
        echo.run_verified(50);
        echo.assert_healthy();
    }
}

#[test]
#[should_panic(expected = "as it was sent")]
fn an_echo_is_no_touch() {
    let mut echo = EchoPair::new(Scenario::new(4096, 1500, 1, false));
    echo.pair().a.app.handler.expect(Answer::Touch);
    echo.run_verified(1);
}

#[test]
#[should_panic(expected = "as it was sent")]
fn a_wrong_byte_is_noticed() {
    client::verify([&[1; 3][..], &[2; 3]].into_iter(), &[1, 1, 1, 2, 3, 2]);
}

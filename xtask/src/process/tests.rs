use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn alive(pid: i32) -> bool {
    // A zombie that nobody has collected yet is dead too.
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z')
}

#[test]
fn outputs_are_kept_apart() {
    let mut process = Process::spawn("sh", shell("echo one; echo two >&2; echo three")).unwrap();
    process.wait_success(Duration::from_secs(5)).unwrap();
    assert_eq!(process.stdout(), "one\nthree\n");
    assert!(process.tail(9).contains("two"));
}

#[test]
fn merged_output_keeps_its_order() {
    let mut process = Process::spawn_merged("sh", shell("echo one; echo two >&2; echo three")).unwrap();
    process.wait_success(Duration::from_secs(5)).unwrap();
    assert_eq!(process.stdout(), "one\ntwo\nthree\n");
}

#[test]
fn failure_tells_the_status_and_the_last_lines() {
    let mut process = Process::spawn("child", shell("echo the reason >&2; exit 3")).unwrap();
    let message = process.wait_success(Duration::from_secs(5)).unwrap_err().to_string();
    assert!(message.contains("exit status: 3") && message.contains("the reason"), "{message}");
}

#[test]
fn waiting_for_a_line_ends_when_the_child_does() {
    let mut process = Process::spawn("child", shell("echo starting; exit 1")).unwrap();
    let message = process.wait_for_line("ready", Duration::from_secs(5)).unwrap_err().to_string();
    assert!(message.contains("ended") && message.contains("starting"), "{message}");
}

#[test]
fn drop_ends_the_child_and_its_children() {
    let mut process = Process::spawn("parent", shell("sleep 77 & echo $!; sleep 77")).unwrap();
    let grandchild: i32 = process.wait_for_line("", Duration::from_secs(5)).unwrap().parse().unwrap();
    let child = i32::try_from(process.child.id()).unwrap();
    assert!(alive(child) && alive(grandchild));
    drop(process);
    let until = Instant::now() + Duration::from_secs(2);
    while alive(grandchild) && Instant::now() < until {
        thread::sleep(TICK);
    }
    assert!(!alive(child) && !alive(grandchild));
}

#[test]
fn a_child_that_ignores_sigterm_is_killed() {
    let mut process = Process::spawn("deaf", shell("trap '' TERM; echo up; while :; do sleep 0.1; done")).unwrap();
    process.wait_for_line("up", Duration::from_secs(5)).unwrap();
    let child = i32::try_from(process.child.id()).unwrap();
    drop(process);
    assert!(!alive(child));
}

#[test]
fn finish_collects_the_closing_report() {
    let script = "trap 'echo report; exit 0' INT; echo up; while :; do sleep 0.05; done";
    let mut process = Process::spawn("server", shell(script)).unwrap();
    process.wait_for_line("up", Duration::from_secs(5)).unwrap();
    process.finish().unwrap();
    assert!(process.stdout().contains("report"));
}

#[test]
fn carriage_returns_leave_the_last_drawing() {
    let mut process = Process::spawn("bar", shell("printf '10%%\\r20%%\\r30%%\\n'")).unwrap();
    process.wait_success(Duration::from_secs(5)).unwrap();
    assert_eq!(process.stdout(), "30%\n");
}

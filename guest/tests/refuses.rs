//! On a host the binary must do nothing but say so.

use std::process::Command;

#[test]
fn it_refuses_to_be_anything_but_pid_1() {
    let output = Command::new(env!("CARGO_BIN_EXE_guest-init")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("PID 1 of an mmtorture guest") && text.lines().count() == 1, "{text}");
}

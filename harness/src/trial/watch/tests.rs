use super::*;

fn watch() -> Watch {
    Watch::new(Limits::new(10, 1, None), "t".into())
}

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn say(watch: &mut Watch, at: f64, events: &[&str]) {
    for event in events {
        watch.events(s(at), format!("{{\"uptime_ms\":1,{event}}}\n").as_bytes());
    }
}

const HELLO: &str = r##""event":"hello","version":1,"trial":"t","release":"6.1","build":"#x","cpus":2,"mem_kib":1000"##;
const TORTURE: &str = r#""event":"phase","phase":"torture""#;
const DONE: &str = r#""event":"done","elapsed_ms":10000,"vmstat":{},"ops":{}"#;
const BUG: &str = "[    4.000000][  T100] ------------[ cut here ]------------\n\
[    4.000001][  T100] kernel BUG at mm/migrate.c:1160!\n\
[    4.000002][  T100] invalid opcode: 0000 [#1] SMP NOPTI\n\
[    4.000003][  T100] CPU: 1 PID: 100 Comm: torture Not tainted 6.1.192 #1\n\
[    4.000004][  T100] RIP: 0010:migrate_pages+0x10/0x100\n\
[    4.000005][  T100] Call Trace:\n\
[    4.000006][  T100]  <TASK>\n\
[    4.000007][  T100]  compact_zone+0x10/0x100\n\
[    4.000008][  T100]  </TASK>\n\
[    4.000009][  T100] ---[ end trace 0000000000000000 ]---\n";

#[test]
fn a_guest_that_never_says_hello_is_ended() {
    let mut watch = watch();
    watch.console(s(1.0), b"Linux version 6.1\n");
    assert_eq!(watch.tick(s(14.9)), None);
    assert_eq!(watch.tick(s(15.0)), Some(Stop::NoHello));
    say(&mut watch, 15.0, &[&HELLO.replace("\"t\"", "\"other\"")]);
    assert_eq!(watch.finish(s(16.0)).hello, None, "another trial's hello is not ours");
}

#[test]
fn a_report_ends_the_trial_within_two_seconds_of_its_end() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    watch.console(s(4.0), BUG.as_bytes());
    assert_eq!(watch.tick(s(4.1)), None, "the report may go on");
    assert_eq!(watch.tick(s(4.6)), Some(Stop::Finding));
    let seen = watch.finish(s(4.7));
    assert_eq!(seen.times.to_finding(), Some(s(2.0)));
    assert_eq!(seen.findings.len(), 1);
    assert_eq!(seen.findings[0].location.as_deref(), Some("mm/migrate.c:1160"));
}

#[test]
fn a_kernel_that_does_not_stop_talking_is_ended_all_the_same() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    watch.console(s(4.0), BUG.as_bytes());
    let mut now = 4.0;
    let stop = loop {
        now += 0.1;
        watch.console(s(now), format!("[    {now:.6}][  T200] ordinary line\n").as_bytes());
        if let Some(stop) = watch.tick(s(now)) {
            break stop;
        }
        assert!(now < 12.0);
    };
    assert_eq!(stop, Stop::Finding);
    assert!(now <= 4.0 + 6.1, "{now}");
}

#[test]
fn silence_is_a_hang_only_after_the_kernel_had_its_say() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    assert_eq!(watch.tick(s(46.9)), None);
    assert_eq!(watch.tick(s(47.0)), Some(Stop::Silent));
}

/// In the form of 6.1: what an NMI that nobody knows makes of a kernel with `unknown_nmi_panic`.
const NMI: &str = "[   50.000000][    C0] Uhhuh. NMI received for unknown reason 20 on CPU 0.\n\
[   50.000001][    C0] Kernel panic - not syncing: NMI: Not continuing\n\
[   50.000002][    C0] CPU: 0 PID: 100 Comm: torture Not tainted 6.1.192 #1\n\
[   50.000003][    C0] Call Trace:\n\
[   50.000004][    C0]  <NMI>\n\
[   50.000005][    C0]  dump_stack_lvl+0x34/0x44\n\
[   50.000006][    C0]  panic+0x101/0x2a0\n\
[   50.000007][    C0]  nmi_panic.cold+0xc/0xc\n\
[   50.000008][    C0]  unknown_nmi_error.cold+0x46/0x49\n\
[   50.000009][    C0]  exc_nmi+0x10c/0x130\n\
[   50.000010][    C0]  end_repeat_nmi+0x16/0x67\n\
[   50.000011][    C0] RIP: 0010:shrink_folio_list+0x55/0x1000\n\
[   50.000012][    C0]  ? shrink_folio_list+0x55/0x1000\n\
[   50.000013][    C0]  </NMI>\n\
[   50.000014][    C0]  <TASK>\n\
[   50.000015][    C0]  shrink_lruvec+0x5d/0x100\n\
[   50.000016][    C0]  </TASK>\n";

#[test]
fn a_silent_guest_is_asked_where_it_stands() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    assert_eq!(watch.tick(s(47.0)), Some(Stop::Silent));
    watch.asked(s(47.0));
    assert_eq!(watch.tick(s(47.1)), None, "it may answer");
    watch.panicked(s(47.2));
    watch.console(s(47.2), NMI.as_bytes());
    assert_eq!(watch.tick(s(47.3)), None);
    assert_eq!(watch.tick(s(47.7)), Some(Stop::Silent));
    let seen = watch.finish(s(47.8));
    assert_eq!(seen.stood_in.as_deref(), Some("shrink_folio_list"));
    assert_eq!((seen.findings[0].title.as_str(), seen.stop), ("hang in shrink_folio_list", Some(Stop::Silent)));
    assert!(!seen.findings[0].severity.stops_trial(), "we made it panic");
    assert!(!seen.panicked && seen.times.finding_ms.is_none());
}

#[test]
fn a_silent_guest_that_does_not_answer_is_ended() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    assert_eq!(watch.tick(s(47.0)), Some(Stop::Silent));
    watch.asked(s(47.0));
    assert_eq!(watch.tick(s(48.9)), None);
    assert_eq!(watch.tick(s(49.0)), Some(Stop::Silent));
}

#[test]
fn a_panic_that_only_the_machine_hears_of_ends_the_trial() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    watch.panicked(s(3.0));
    assert_eq!(watch.tick(s(4.4)), None, "the kernel may still say why");
    assert_eq!(watch.tick(s(4.5)), Some(Stop::Panicked));
    assert!(watch.finish(s(4.6)).panicked);
}

#[test]
fn a_guest_that_lives_too_long_is_overdue() {
    let mut watch = watch();
    let mut now = 2.0;
    say(&mut watch, now, &[HELLO, TORTURE]);
    while watch.tick(s(now)).is_none() {
        now += 1.0;
        say(&mut watch, now, &[r#""event":"progress","ops":{}"#]);
    }
    assert_eq!((watch.seen.stop, now), (Some(Stop::Overdue), 2.0 + 10.0 + 72.0));
}

#[test]
fn a_guest_that_is_done_has_a_while_to_power_off() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE, DONE]);
    assert_eq!(watch.tick(s(7.9)), None);
    assert_eq!(watch.tick(s(8.0)), Some(Stop::NoPowerOff));
}

#[test]
fn a_violation_is_a_finding_and_noise_is_nothing() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    watch.events(s(3.0), b"\xff\x00{\n[1,2]\n{\"event\":\"hello\"}\n");
    say(&mut watch, 3.0, &[r#""event":"violation","kind":"data-mismatch","detail":"page 7""#]);
    assert_eq!(watch.tick(s(3.5)), Some(Stop::Finding));
    let seen = watch.finish(s(4.0));
    assert_eq!(seen.findings[0].title, "data mismatch");
    assert!(seen.findings[0].primary);
}

#[test]
fn what_a_bug_does_to_the_workload_is_its_consequence() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    let (head, rest) = BUG.split_at(BUG.find("Call Trace").unwrap());
    watch.console(s(4.0), head.as_bytes());
    say(&mut watch, 4.1, &[r#""event":"violation","kind":"workload-signal","detail":"11""#]);
    watch.console(s(4.2), rest.as_bytes());
    assert_eq!(watch.tick(s(4.7)), Some(Stop::Finding));
    let findings = watch.finish(s(5.0)).findings;
    let primary: Vec<_> = findings.iter().filter(|f| f.primary).map(|f| f.class).collect();
    assert_eq!(primary, [Class::KernelBug]);
}

#[test]
fn a_console_flood_is_bounded() {
    let mut watch = watch();
    watch.limits.console_bytes = 1000;
    watch.console(s(0.1), &[b'x'; 1001]);
    assert_eq!(watch.tick(s(0.2)), Some(Stop::ConsoleFlood));
}

#[test]
fn noise_is_counted_and_is_no_finding() {
    let mut watch = watch();
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    watch.console(s(3.0), b"[    3.000000][  T100] cc1[44]: segfault at 0 ip 0 sp 0 error 4 in cc1[0+1]\n");
    let seen = watch.finish(s(4.0));
    assert!(seen.findings.is_empty());
    assert_eq!(seen.noise, BTreeMap::from([("user-fault".to_owned(), 1)]));
}

#[test]
fn an_expected_report_does_not_end_the_trial() {
    let expectations = Expectations { kinds: vec!["kernel-bug".parse().unwrap()], rules: Vec::new() };
    let mut watch = watch().expecting(expectations, Date::constant(2026, 1, 1));
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    watch.console(s(4.0), BUG.as_bytes());
    assert_eq!(watch.tick(s(4.6)), None);
    assert_eq!(watch.tick(s(8.0)), None);
    let seen = watch.finish(s(9.0));
    assert_eq!(seen.findings[0].expected.as_deref(), Some("expect: kernel-bug"));
    assert!(!seen.findings[0].is_failure() && seen.times.finding_ms.is_none());
}

#[test]
fn an_expected_violation_does_not_end_the_trial() {
    let expectations = Expectations { kinds: vec!["violation".parse().unwrap()], rules: Vec::new() };
    let mut watch = watch().expecting(expectations, Date::constant(2026, 1, 1));
    say(&mut watch, 2.0, &[HELLO, TORTURE]);
    say(&mut watch, 3.0, &[r#""event":"violation","kind":"kselftest-khugepaged","detail":"exit status 1""#]);
    assert_eq!(watch.tick(s(8.0)), None);
    let seen = watch.finish(s(9.0));
    assert!(!seen.findings[0].is_failure() && seen.times.finding_ms.is_none());
}

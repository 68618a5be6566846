//! How long a session lasts, and that its end needs nobody (R31, PITFALLS 10).

use crate::{World, approve, call, request, sees, start, world};
use authz_tests::clock::{Clock, at_leisure};
use authz_tests::make::id;
use authz_tests::{execute, refused, value};

#[test]
fn the_duration_is_the_least_of_what_is_asked_and_allowed() {
    let mut w = world();
    let (mut sam, mut ann, mut bea) = (w.of("sam"), w.of("ann"), w.of("bea"));
    let lasts = |w: &mut World, session| w.session(session, "expires_at - started_at").unwrap();
    let mut begin = |w: &mut World, asked: &str, started: &str| {
        let session = request(&mut sam, asked);
        approve(&mut ann, session);
        call(
            &mut sam,
            &format!("authz_start_privileged_session('{session}'{started})"),
        );
        lasts(w, session)
    };
    assert_eq!(begin(&mut w, "", ""), "08:00:00");
    assert_eq!(begin(&mut w, ", duration => '30 days'", ""), "08:00:00");
    assert_eq!(begin(&mut w, ", duration => '20 minutes'", ""), "00:20:00");
    assert_eq!(begin(&mut w, ", duration => '20 minutes'", ", '5 minutes'"), "00:05:00");
    assert_eq!(begin(&mut w, ", duration => '20 minutes'", ", '2 hours'"), "00:20:00");
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"max_duration": "10 minutes", "break_glass_max_duration": "3 minutes"}}'"#,
    );
    assert_eq!(begin(&mut w, "", ""), "00:10:00");
    let broken = call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '1 day')", id("acme")),
    );
    assert_eq!(lasts(&mut w, broken), "00:03:00");
    call(&mut bea, &format!("authz_end_privileged_session('{broken}')"));
    // More than the setting allows nobody.
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"break_glass_max_duration": "1 year"}}'"#,
    );
    let broken = call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '1 day')", id("acme")),
    );
    assert_eq!(lasts(&mut w, broken), "01:00:00");
    // The settings are not the caller's.
    refused(
        &mut bea,
        "SET authz.break_glass_max_duration = '1d'",
        "42501",
        &["permission denied"],
    );
}

/// Intervals are compared as if a month had 30 days, and added as it is.
#[test]
fn a_duration_that_compares_as_short_and_lasts_long_is_cut() {
    let mut w = world();
    let (mut sam, mut ann, mut bea) = (w.of("sam"), w.of("ann"), w.of("bea"));
    let within = |w: &mut World, session, most: &str| {
        let so = w.session(session, &format!("expires_at <= started_at + interval '{most}'"));
        assert_eq!(so.as_deref(), Some("true"), "{:?}", w.session(session, "expires_at"));
    };
    let long = "1000 months -30000 days +1 minute";
    let session = call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '{long}')", id("acme")),
    );
    within(&mut w, session, "1 hour");
    for (asked, started) in [
        (format!(", duration => '{long}'"), String::new()),
        (String::new(), format!(", '{long}'")),
        (", duration => '10 minutes'".to_owned(), format!(", '{long}'")),
    ] {
        let session = request(&mut sam, &asked);
        approve(&mut ann, session);
        call(
            &mut sam,
            &format!("authz_start_privileged_session('{session}'{started})"),
        );
        within(
            &mut w,
            session,
            if asked.contains("10 min") {
                "10 minutes"
            } else {
                "8 hours"
            },
        );
    }
    refused(
        &mut bea,
        &format!(
            "SELECT authz_break_glass('fire', '{}', duration => '-1000 months 30000 days 1 minute')",
            id("acme")
        ),
        "22023",
        &["positive"],
    );
}

/// In a time zone of one's own making a day can have 184 hours.
#[test]
fn a_time_zone_of_the_callers_making_makes_no_day_longer() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "ALTER DATABASE {0} SET authz.break_glass_max_duration = '1d'; ALTER DATABASE {0} SET authz.privileged_max_duration = '1d'",
            w.db.name
        ),
    );
    let (mut sam, mut ann, mut bea) = (w.of("sam"), w.of("ann"), w.of("bea"));
    let day: i64 = value(
        &mut sam,
        "SELECT extract(doy FROM now() AT TIME ZONE 'UTC' + interval '18 hours')::bigint",
        &[],
    );
    for c in [&mut sam, &mut bea] {
        execute(
            c,
            &format!("SET TimeZone = 'AAA0BBB+160,{}/0,{}/0'", day % 365, (day + 20) % 365),
        );
    }
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    let late = request(&mut sam, "");
    approve(&mut ann, late);
    let started = request(&mut sam, "");
    approve(&mut ann, started);
    start(&mut sam, started);
    for session in [broken, started] {
        let lasts = w.session(
            session,
            "extract(epoch FROM expires_at) - extract(epoch FROM started_at) <= 86400",
        );
        assert_eq!(lasts.as_deref(), Some("true"), "{:?}", w.session(session, "expires_at"));
    }
    // The window after the approval, of a day, as well.
    execute(
        &mut w.admin,
        &format!(
            "ALTER TABLE authz.privileged_access_session DISABLE TRIGGER USER;
             UPDATE authz.privileged_access_session
             SET requested_at = now() - interval '26 hours', approved_at = now() - interval '25 hours'
             WHERE session_id = '{late}';
             ALTER TABLE authz.privileged_access_session ENABLE TRIGGER USER"
        ),
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{late}')"),
        "55000",
        &["cannot be started any more"],
    );
}

#[test]
fn pitfall_10_expiry_is_enforced_by_the_decision_and_needs_no_maintenance() {
    at_leisure(expires);
}

fn expires(clock: &Clock) {
    let mut w = world();
    let (mut bea, mut sam, mut ann) = (w.of("bea"), w.of("sam"), w.of("ann"));
    let duration = format!(", duration => {}", clock.interval(2.0));
    clock.start();
    call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}'{duration})", id("acme")),
    );
    let session = request(&mut sam, &duration);
    approve(&mut ann, session);
    start(&mut sam, session);
    assert!(sees(&mut bea, "affair") && sees(&mut sam, "affair"));
    // Also in a transaction that is open all the time.
    execute(&mut bea, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(sees(&mut bea, "affair"));
    clock.wait_until(2.5);
    assert!(!sees(&mut bea, "affair") && !sees(&mut sam, "affair"));
    execute(&mut bea, "ROLLBACK");
    assert_eq!(w.session(session, "ended_at"), None, "nobody has closed it");
    refused(
        &mut sam,
        &format!("SELECT authz_end_privileged_session('{session}')"),
        "55000",
        &["expired"],
    );
}

//! The log in S3, through a proxy that fails.

use super::*;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::versitygw::Gateway;

/// A streamer into S3, and the proxy before it.
pub(crate) fn to_s3(server: &Server) -> (Drctl, FaultProxy) {
    let proxy = FaultProxy::start(Gateway::shared().address());
    let bucket = Gateway::shared().bucket();
    let mut drctl = streamer(server)
        .env("DRCTL_STORE", &format!("s3://{bucket}/p"))
        .env("DRCTL_STORE_S3_MAX_ATTEMPTS", "1");
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    (drctl.env("AWS_ENDPOINT_URL", &proxy.url()), proxy)
}

#[test]
fn a_put_whose_answer_is_lost_or_that_fails_is_one_segment_in_the_end() {
    crate::need!(MySql);
    crate::need!(Gateway);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    for fault in [
        Fault::DropAnswer,
        Fault::Answer(503, "SlowDown"),
        Fault::ReplaceAnswer(500, "InternalError"),
        Fault::CutRequest(100),
    ] {
        server.exec("CALL d.write(20)");
        let (drctl, proxy) = to_s3(&server);
        proxy.fault(When::put(".zst").first(1), fault.clone());
        proxy.fault(When::put("timeline.json").first(1), fault);
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["log", "--check"]).ok();
        let log = log(&drctl);
        let executed = server.value("SELECT @@global.gtid_executed");
        assert_eq!(log["timelines"][0]["gtid_set"], executed.as_str(), "{log}");
        assert_eq!(log["timelines"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_segment_that_another_streamer_wrote_is_never_replaced() {
    crate::need!(MySql);
    let server = logging(Flavour::MySql, &[]);
    server.exec(WRITER);
    let drctl = streamer(&server);
    let running = drctl.archiving();
    crate::support::wait::until("something is archived", || !segments(&drctl).is_empty());
    std::thread::sleep(std::time::Duration::from_secs(2));
    // What it would write next is there already.
    let id = timelines(&drctl).remove(0);
    let last = segments(&drctl).pop().unwrap();
    let shown = log(&drctl)["timelines"][0]["position"].as_u64().unwrap();
    let next = last.with_file_name(format!("{shown:012}.zst"));
    fs::write(&next, "of another streamer").unwrap();
    server.exec("CALL d.write(5)");
    running.wait().refused(6, &[&id, "not a segment"]);
    assert_eq!(fs::read(&next).unwrap(), b"of another streamer");
}

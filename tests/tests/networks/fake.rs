//! A plugin that notes its calls, and fails or hangs if a test wants it.

use offramp_tests::Node;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub struct Fake(PathBuf);

const SCRIPT: &str = r#"#!/bin/sh
me=${0##*/}
cd "${0%/*}" || exit 1
stdin=$(cat)
echo "$CNI_COMMAND $me $CNI_IFNAME netns=${CNI_NETNS:+there} args=$CNI_ARGS" >> calls
echo "$stdin" > "stdin-$me-$CNI_COMMAND"
[ -f "before-$me-$CNI_COMMAND" ] && . "./before-$me-$CNI_COMMAND"
if [ -f "fails-$me-$CNI_COMMAND" ]; then
    echo '{"cniVersion": "1.0.0", "code": 123, "msg": "it does not want to", "details": "its details"}'
    exit 1
fi
[ "$CNI_COMMAND" = ADD ] && echo "{\"cniVersion\": \"1.0.0\", \"interfaces\": [{\"name\": \"$CNI_IFNAME\", \"sandbox\": \"$CNI_NETNS\", \"mac\": \"02:00:00:00:00:0$(grep -c . calls)\"}], \"by\": \"$me\"}"
exit 0
"#;

impl Fake {
    /// Plugins of these names in a directory of the node's.
    pub fn new(node: &Node, names: &[&str]) -> Self {
        let dir = node.dir().join("bin");
        std::fs::create_dir(&dir).unwrap();
        for name in names {
            std::fs::write(dir.join(name), SCRIPT).unwrap();
            std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(dir)
    }

    /// `CNI_PATH` with this directory first.
    pub fn path(&self) -> String {
        format!("{}:/usr/lib/cni", self.0.display())
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    /// The calls so far, and none any more.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.0.join("calls"));
        text.lines().map(str::to_owned).collect()
    }

    /// As `VERB PLUGIN INTERFACE`.
    pub fn short_calls(&self) -> Vec<String> {
        self.calls().iter().map(|c| c.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    }

    pub fn stdin(&self, plugin: &str, verb: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.join(format!("stdin-{plugin}-{verb}"))).unwrap())
            .unwrap()
    }
}

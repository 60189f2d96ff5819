//! Sets a node up: what its config says, what lies beside it, how it is started.

use std::path::Path;

use crate::node::Node;
use crate::origin::Origin;
use crate::process::Launch;

/// A node being set up.
pub struct NodeBuilder {
    launch: Launch,
    text: String,
    listen: String,
    site: String,
    files: Vec<(String, Vec<u8>)>,
}

impl NodeBuilder {
    /// Nothing set yet but the binary.
    pub(crate) fn new(bin: &Path) -> Self {
        let bin = std::path::absolute(bin).expect("the current directory exists");
        Self {
            launch: Launch {
                bin,
                env: Vec::new(),
                args: Vec::new(),
                bare: false,
            },
            text: String::new(),
            listen: String::new(),
            site: String::new(),
            files: Vec::new(),
        }
    }

    /// A site for every host, in front of this origin.
    pub fn origin(self, origin: &Origin) -> Self {
        self.site(&format!(
            "[[site]]\nhosts = [\"*\"]\norigin = \"{}\"",
            origin.url()
        ))
    }

    /// Config text that comes first. What it leaves out is filled in: `data`, and `[listen]` with
    /// ports picked by the kernel.
    pub fn config(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self.text.push('\n');
        self
    }

    /// Config text that comes last: after `origin`, its `[site.cache]` and `[[site.route]]`
    /// tables, or whole sites.
    pub fn site(mut self, text: &str) -> Self {
        self.site.push_str(text);
        self.site.push('\n');
        self
    }

    /// One more line inside the filled-in `[listen]`, for example `https = ["127.0.0.1:0"]`.
    pub fn listen(mut self, line: &str) -> Self {
        self.listen.push_str(line);
        self.listen.push('\n');
        self
    }

    /// A file beside the config, which is also the current directory of the node.
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files
            .push((name.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.launch.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Arguments after `run --config FILE`.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.launch.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts it with `args` alone: no config, not even `run`.
    pub fn bare(mut self) -> Self {
        self.launch.bare = true;
        self
    }

    /// Starts it and waits until it is ready. Panics, with what it wrote, if it never is.
    #[track_caller]
    pub fn start(self) -> Node {
        let directory = tempfile::Builder::new()
            .prefix("edge-test-")
            .tempdir()
            .expect("a temporary directory");
        for (name, content) in &self.files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a joined path has a parent"))
                .expect("a directory");
            std::fs::write(path, content).expect("a file can be written");
        }
        let text = self.config_text(directory.path());
        Node::launch(self.launch, directory, &text)
    }

    fn config_text(&self, directory: &Path) -> String {
        let has = |start: &str| {
            self.text
                .lines()
                .any(|line| line.replace(' ', "").starts_with(start))
        };
        let mut text = String::new();
        if !has("data=") {
            text.push_str(&format!(
                "data = \"{}\"\n",
                directory.join("data").display()
            ));
        }
        text.push_str(&self.text);
        if !has("[listen]") {
            text.push_str("\n[listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n");
            text.push_str(&self.listen);
        }
        text.push('\n');
        text.push_str(&self.site);
        text
    }
}

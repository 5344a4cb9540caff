//! The elements of a manifest, for its tests.

/// An element.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
}

impl Element {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> + 'a {
        self.children.iter().filter(move |it| it.name == name)
    }

    pub(super) fn one<'a>(&'a self, name: &'a str) -> &'a Element {
        let found: Vec<&Element> = self.all(name).collect();
        assert_eq!(found.len(), 1, "{name} in {}", self.name);
        found[0]
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.attributes.iter().any(|(name, _)| name == key)
    }

    pub(super) fn get(&self, key: &str) -> String {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        let (_, value) = found.unwrap_or_else(|| panic!("no {key} in {}", self.name));
        value.clone()
    }

    pub(super) fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap()
    }

    /// A duration (ISO 8601) of seconds alone.
    pub(super) fn seconds(&self, key: &str) -> f64 {
        let value = self.get(key);
        let seconds = value.strip_prefix("PT").and_then(|it| it.strip_suffix('S'));
        seconds.unwrap().parse().unwrap()
    }
}

/// The element that a text consists of.
pub(super) fn read(text: &str) -> Element {
    let document = roxmltree::Document::parse(text).unwrap_or_else(|error| {
        panic!("{error}:\n{text}");
    });
    element(document.root_element())
}

fn element(node: roxmltree::Node<'_, '_>) -> Element {
    assert_eq!(
        node.tag_name().namespace(),
        Some("urn:mpeg:dash:schema:mpd:2011")
    );
    let attributes = node.attributes();
    let attributes = attributes.map(|it| (it.name().to_owned(), it.value().to_owned()));
    let children = node.children().filter(roxmltree::Node::is_element);
    Element {
        name: node.tag_name().name().to_owned(),
        attributes: attributes.collect(),
        children: children.map(element).collect(),
    }
}

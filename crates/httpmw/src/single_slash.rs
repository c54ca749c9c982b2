use axum::extract::Request;
use axum::response::Response;
use http::Uri;
use http::uri::PathAndQuery;

use crate::step::{Inner, Next, Step};

/// Collapses repeated slashes of the path and takes one off its end, so that `//api//v2/` finds its route.
/// Must stand before the router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleSlash;

impl Step for SingleSlash {
    async fn run<S: Inner>(self, mut request: Request, next: Next<S>) -> Response {
        if let Some(uri) = collapsed(request.uri()) {
            *request.uri_mut() = uri;
        }
        next.run(request).await
    }
}

/// `None` if there is nothing to change.
fn collapsed(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return None;
    }
    let mut text = String::with_capacity(uri.path().len());
    for character in uri.path().chars() {
        if character != '/' || !text.ends_with('/') {
            text.push(character);
        }
    }
    if text.len() > 1 && text.ends_with('/') {
        text.pop();
    }
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slashes_of_the_path_are_touched() {
        for (uri, want) in [
            ("/a/b", None),
            ("/a?next=//b", None),
            ("//", Some("/")),
            ("//a///b//", Some("/a/b")),
            ("/", None),
            ("/a/", Some("/a")),
            ("/a/?next=/b/", Some("/a?next=/b/")),
            ("/a//b?next=//c", Some("/a/b?next=//c")),
            ("http://host//a//b", Some("http://host/a/b")),
            ("/a%2F//b", Some("/a%2F/b")),
        ] {
            let got = collapsed(&uri.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(got.as_deref(), want, "{uri}");
        }
    }
}

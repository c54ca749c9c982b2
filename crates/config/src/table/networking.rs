//! Addresses, proxies in front, cookies.

use ipnet::IpNet;
use url::Url;

use super::{ALL, options};
use crate::check;
use crate::groups::{HTTP, NETWORKING};
use crate::row::Alias;
use crate::value::{HostPort, SameSite};

options! {
    /// Addresses, proxies in front, cookies.
    Networking at "networking" {
        /// The URL by which users reach the deployment.
        ///
        /// If it is not set, it is derived from the listen address, which only works on this machine.
        access_url: Option<Url> = "" {
            name: "Access URL", env: "CODER_ACCESS_URL", flag: "access-url", yaml: "accessURL",
            group: &NETWORKING, json: "access_url", check: Some(check::base_url), daemons: ALL,
        },
        /// Redirect requests that came by another host name to the access URL.
        redirect_to_access_url: bool = "false" {
            name: "Redirect to Access URL", env: "CODER_REDIRECT_TO_ACCESS_URL",
            flag: "redirect-to-access-url", yaml: "redirectToAccessURL", group: &NETWORKING,
            json: "redirect_to_access_url",
            aliases: &[
                Alias {
                    env: "CODER_TLS_REDIRECT_HTTP_TO_HTTPS", flag: "tls-redirect-http-to-https",
                    yaml: "networking.tls.redirectHTTP", deprecated: true,
                },
                Alias { env: "CODER_TLS_REDIRECT_HTTP", flag: "", yaml: "", deprecated: true },
            ],
        },
        /// Address to listen on.
        ///
        /// With TLS on it replaces the TLS address and switches plain HTTP off; without TLS the reverse.
        address: Option<HostPort> = "" {
            name: "Address", env: "CODER_ADDRESS", flag: "address", short: Some('a'),
            group: &NETWORKING, json: "address", hidden: true,
            use_instead: "CODER_HTTP_ADDRESS or CODER_TLS_ADDRESS",
        },
        /// The address on which plain HTTP is served. Empty switches plain HTTP off.
        http_address: Option<HostPort> = "127.0.0.1:3000" {
            name: "HTTP Address", env: "CODER_HTTP_ADDRESS", flag: "http-address",
            yaml: "httpAddress", group: &HTTP, json: "http_address", json_as_text: true,
        },
        /// Headers in which a proxy in front tells the client's address, such as `X-Forwarded-For`.
        ///
        /// They are honoured only from the trusted origins.
        proxy_trusted_headers: Vec<String> = "" {
            name: "Proxy Trusted Headers", env: "CODER_PROXY_TRUSTED_HEADERS",
            flag: "proxy-trusted-headers", yaml: "proxyTrustedHeaders", group: &NETWORKING,
            json: "proxy_trusted_headers", check: Some(check::header_names), daemons: ALL,
        },
        /// Networks of the proxies whose trusted headers and `X-Forwarded-Host` are believed.
        proxy_trusted_origins: Vec<IpNet> = "" {
            name: "Proxy Trusted Origins", env: "CODER_PROXY_TRUSTED_ORIGINS",
            flag: "proxy-trusted-origins", yaml: "proxyTrustedOrigins", group: &NETWORKING,
            json: "proxy_trusted_origins", daemons: ALL,
        },
        /// Whether browsers send the session cookie over https only.
        secure_auth_cookie: Option<bool> = "" {
            name: "Secure Auth Cookie", env: "CODER_SECURE_AUTH_COOKIE",
            flag: "secure-auth-cookie", yaml: "secureAuthCookie", group: &NETWORKING,
            json: "http_cookies.secure_auth_cookie",
            default_note: "true if the access URL is https",
        },
        /// The `SameSite` attribute of the session cookie. `none` needs a secure cookie.
        samesite_auth_cookie: SameSite = "lax" {
            name: "SameSite Auth Cookie", env: "CODER_SAMESITE_AUTH_COOKIE",
            flag: "samesite-auth-cookie", yaml: "sameSiteAuthCookie", group: &NETWORKING,
            json: "http_cookies.same_site",
        },
        /// Give the session cookie the prefix `__Host-`, which binds it to exactly this host.
        ///
        /// It needs a secure cookie.
        host_prefix_cookie: bool = "false" {
            name: "Host Prefix Cookie", env: "CODER_HOST_PREFIX_COOKIE",
            flag: "host-prefix-cookie", yaml: "hostPrefixCookie", group: &NETWORKING,
            json: "http_cookies.host_prefix",
        },
    }
}

impl Networking {
    /// Whether browsers send cookies over https only: as set, else if the access URL is https.
    #[must_use]
    pub fn has_secure_cookies(&self) -> bool {
        self.secure_auth_cookie
            .unwrap_or_else(|| self.access_url.as_ref().is_some_and(|url| url.scheme() == "https"))
    }
}

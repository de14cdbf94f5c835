//! Which documents are envelopes: of real clients, malformed, beyond the limits.

use super::*;

#[test]
fn envelopes_of_real_clients_are_read() {
    // zeep, with its plugin for WS-Addressing.
    accepted(
        r#"<?xml version='1.0' encoding='utf-8'?>
<soap-env:Envelope xmlns:soap-env="http://www.w3.org/2003/05/soap-envelope"><soap-env:Header xmlns:wsa="http://www.w3.org/2005/08/addressing"><wsa:Action>urn:example:add</wsa:Action><wsa:MessageID>urn:uuid:7ff0a2a7-ee9d-4b61-9a5e-1a6b8a2d6f9b</wsa:MessageID><wsa:To>ws://127.0.0.1:8080/soap</wsa:To></soap-env:Header><soap-env:Body><ns0:add xmlns:ns0="urn:example"><ns0:a>1</ns0:a></ns0:add></soap-env:Body></soap-env:Envelope>"#,
    );
    // suds, as Cinder's driver for DataCore writes.
    accepted(
        r#"<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:ns0="http://tempuri.org/" xmlns:ns1="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Header><wsa:Action SOAP-ENV:mustUnderstand="true">http://tempuri.org/IServer/GetNodes</wsa:Action><wsa:To SOAP-ENV:mustUnderstand="true">http://www.w3.org/2005/08/addressing/anonymous</wsa:To><wsa:MessageID>urn:uuid:0a6d</wsa:MessageID><wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo></SOAP-ENV:Header><ns1:Body><ns0:GetNodes/></ns1:Body></SOAP-ENV:Envelope>"#,
    );
    // WCF with text encoding.
    accepted(
        r#"<s:Envelope xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header><a:Action s:mustUnderstand="1">http://tempuri.org/ICalc/Add</a:Action><a:MessageID>urn:uuid:f0f2</a:MessageID><a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo><a:To s:mustUnderstand="1">ws://localhost/calc</a:To></s:Header><s:Body><Add xmlns="http://tempuri.org/"><a>1</a></Add></s:Body></s:Envelope>"#,
    );
    // Axis2 and Metro, 2004/08.
    accepted(&format!(
        r#"<soapenv:Envelope xmlns:soapenv="{V11}"><soapenv:Header xmlns:wsa="{WSA_2004}"><wsa:To>http://example.com/axis2/services/Q</wsa:To><wsa:ReplyTo><wsa:Address>{WSA_2004}/role/anonymous</wsa:Address></wsa:ReplyTo><wsa:MessageID>uuid:5</wsa:MessageID><wsa:Action>urn:q</wsa:Action></soapenv:Header><soapenv:Body/></soapenv:Envelope>"#
    ));
    // The default namespace, odd prefixes, and attributes on Body.
    accepted(&format!(
        r#"<Envelope xmlns="{V12}"><Header><To xmlns="{WSA}">urn:a:b</To></Header><Body id="x" xml:lang="en"/></Envelope>"#
    ));
    accepted(&format!(
        r#"<ÿ-.9:Envelope xmlns:ÿ-.9="{V12}" xmlns:_="{WSA}"><ÿ-.9:Header><_:To>urn:a:b</_:To></ÿ-.9:Header><ÿ-.9:Body/></ÿ-.9:Envelope>"#
    ));
    // An entity in a namespace, CDATA and comments; a byte order mark; a comment behind the end.
    accepted(&format!(
        "\u{FEFF}<?xml version=\"1.0\"?><!-- a --><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-&#101;nvelope\" \
         xmlns:a='{WSA}'>\r\n<s:Header>\t<a:To><!-- b --><![CDATA[urn:]]>a&#58;b</a:To></s:Header><s:Body>\
         <![CDATA[ <not/> ]] > & ]]>&amp;</s:Body></s:Envelope><!-- c -->\n"
    ));
}

#[test]
fn a_mark_and_a_binary_message_are_published_as_plain_text() {
    let text = one_way("urn:a:b");
    for message in [
        Message::Binary(text.as_bytes()),
        Message::Text(&format!("\u{FEFF}{text}")),
        Message::Binary(format!("\u{FEFF}{text}").as_bytes()),
    ] {
        let did = Client::new().send_message(message);
        assert_eq!(did, Did::Published("urn:a:b".to_owned(), text.clone()));
    }
}

#[test]
fn documents_that_are_no_xml_are_refused() {
    let good = one_way("urn:a:b");
    let with = |body: &str| {
        let header = "<s:Header><a:To>urn:a:b</a:To></s:Header>";
        envelope(V12, header, body)
    };
    for (text, why) in [
        (String::new(), "ends too early"),
        ("\u{FEFF}".to_owned(), "ends too early"),
        ("{}".to_owned(), "text outside"),
        (good[..good.len() - 1].to_owned(), "not well-formed"),
        (good.replace("</p>", "</q>"), "not well-formed"),
        (format!("{good}{good}"), "more than one"),
        (format!("{good}x"), "text outside"),
        (format!("{good}<![CDATA[x]]>"), "text outside"),
        (format!(" <?xml version=\"1.0\"?>{good}"), "stand first"),
        (format!("<?xml version=\"1.1\"?>{good}"), "XML 1.0"),
        (format!("<?xml encoding=\"utf-8\"?>{good}"), "XML 1.0"),
        (
            format!("<?xml version=\"1.0\" encoding=\"utf-16\"?>{good}"),
            "UTF-8",
        ),
        (
            format!("<?xml version=\"1.0\" x=\"\"?>{good}"),
            "declaration",
        ),
        (
            format!("<?xml version=\"1.0\"encoding=\"utf-8\"?>{good}"),
            "declaration",
        ),
        (
            format!("<?xml version=\"1.0\" encoding=\"utf-8\"standalone=\"yes\"?>{good}"),
            "declaration",
        ),
        (format!("<!DOCTYPE x>{good}"), "DTD"),
        (format!("<!DOCTYPE x [<!ENTITY lol \"lol\">]>{good}"), "DTD"),
        (format!("<?pi x?>{good}"), "processing instruction"),
        (with("<?pi?>"), "processing instruction"),
        (with("<x y=1/>"), "attribute"),
        (with("<x y='1' y='2'/>"), "attribute"),
        (with("<x y='1'z='2'/>"), "attribute"),
        (with("<x y='<'/>"), "attribute"),
        (with("<x y='&lol;'/>"), "reference"),
        (with("<x y='&'/>"), "reference"),
        (
            with("<x xmlns:b='urn:1' xmlns:c='urn:1' b:y='' c:y=''/>"),
            "stands twice",
        ),
        (with("<b:x/>"), "prefix"),
        (with("<x b:y=''/>"), "prefix"),
        (with("<x xmlns:b=''/>"), "prefix"),
        (with("<x xmlns:xml='urn:1'/>"), "reserved"),
        (with("<x xmlns:xmlns='urn:1'/>"), "reserved"),
        (with("<x:y:z/>"), "name"),
        (with("<-x></-x>"), "name"),
        (with("<x/><1/>"), "name"),
        (with("a ]]> b"), "]]"),
        (with("&lol;"), "reference"),
        (with("&#0;"), "reference"),
        (with("&#xFFFF;"), "reference"),
        (with("&#xD800;"), "reference"),
        (with("a & b"), "not well-formed"),
        (with("<!-- a -- b -->"), "not well-formed"),
        (with("\u{1}"), "character"),
        (with("\u{FFFE}"), "character"),
        (with("<x y='"), "not well-formed"),
        (with("< x/>"), "attribute"),
    ] {
        refused(&text, why);
    }
    let said = Client::new().send_message(Message::Binary(b"<a>\xff</a>"));
    assert!(matches!(said, Did::Said(fault) if fault.contains("not UTF-8")));
}

#[test]
fn documents_that_are_no_envelope_are_refused() {
    for (text, why) in [
        ("<a/>".to_owned(), "no SOAP envelope"),
        ("<Envelope/>".to_owned(), "VersionMismatch"),
        (
            envelope("http://www.w3.org/2001/12/soap-envelope", "", ""),
            "VersionMismatch",
        ),
        (format!(r#"<Envelope xmlns="{V12}"/>"#), "no Body"),
        (
            format!(r#"<Envelope xmlns="{V12}"><Header/></Envelope>"#),
            "no Body",
        ),
        (
            format!(r#"<Envelope xmlns="{V12}"><Body/><Body/></Envelope>"#),
            "behind its Body",
        ),
        (
            format!(r#"<Envelope xmlns="{V12}"><Body/><Header/></Envelope>"#),
            "behind its Body",
        ),
        (
            format!(r#"<Envelope xmlns="{V12}">x<Body/></Envelope>"#),
            "text between",
        ),
        (
            envelope(V12, "<s:Header><a:To>urn:<b/></a:To></s:Header>", ""),
            "text alone",
        ),
        (
            envelope(
                V12,
                "<s:Header><x s:mustUnderstand='maybe'/></s:Header>",
                "",
            ),
            "mustUnderstand",
        ),
    ] {
        refused(&text, why);
    }
}

#[test]
fn documents_beyond_the_limits_are_refused() {
    let with = |body: &str| {
        let header = "<s:Header><a:To>urn:a:b</a:To></s:Header>";
        envelope(V12, header, body)
    };
    let nested = |depth: usize| format!("{}{}", "<x>".repeat(depth), "</x>".repeat(depth));
    accepted(&with(&nested(62)));
    refused(&with(&nested(63)), "deeper");
    refused(&with(&nested(100_000)), "deeper");
    let attributes = |count: usize| {
        let all = (0..count).map(|n| format!(" a{n}=\"\""));
        format!("<x{}/>", all.collect::<String>())
    };
    accepted(&with(&attributes(64)));
    refused(&with(&attributes(65)), "more attributes");
    refused(&with(&attributes(10_000)), "more attributes");
    let declared = |count: usize| {
        let all = (0..count).map(|n| format!(" xmlns:n{n}=\"urn:{n}\""));
        format!("<x{}/>", all.collect::<String>())
    };
    accepted(&with(&declared(62)));
    refused(&with(&declared(63)), "namespaces");
    // In force one after the other.
    accepted(&with(&declared(62).repeat(100)));
    let long = "x".repeat(513);
    refused(&with(&format!("<x xmlns:n=\"{long}\"/>")), "namespaces");
    // The header is limited; the body is not.
    accepted(&with(&"x".repeat(1 << 20)));
    let header = |bytes: usize| {
        let header = format!(
            "<s:Header><a:To>urn:a:b</a:To><x>{}</x></s:Header>",
            "x".repeat(bytes)
        );
        envelope(V12, &header, "")
    };
    accepted(&header(16_000));
    refused(&header(17_000), "Header is longer");
    let to = format!("urn:{}", "x".repeat(300));
    refused(&one_way(&to), "DestinationUnreachable");
    let id = format!(
        "<s:Header><a:Action>urn:a:b</a:Action><a:MessageID>{}</a:MessageID></s:Header>",
        "x".repeat(257)
    );
    refused(&envelope(V12, &id, ""), "MessageID");
}

#[test]
fn billion_laughs_are_not_laughed() {
    let mut text = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\">".to_owned();
    for n in 1..10 {
        let before = if n == 1 {
            "lol".to_owned()
        } else {
            format!("lol{}", n - 1)
        };
        text.push_str(&format!(
            "<!ENTITY lol{n} \"{}\">",
            format!("&{before};").repeat(10)
        ));
    }
    text.push_str(&format!("]>{}", envelope(V12, "", "&lol9;")));
    refused(&text, "DTD");
}

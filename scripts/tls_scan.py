#!/usr/bin/env python3
"""Scans a daemon of its own with sslyze and writes what that finds to docs/results/tls-scan.md.

    pip install sslyze==6.3.1
    scripts/tls_scan.py [--roostd target/release/roostd]

Needs openssl, and sslyze beside this interpreter or in the PATH. The certificate is ECDSA with P-256, of an
authority made for the scan. Each check has a row; one that the scan could not make, or that finds what this
script has no explanation for, is written down as such and makes the exit status 1.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITH_PARENT = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
DOCUMENT = ROOT / "docs/results/tls-scan.md"
START_S, SCAN_S = 30, 580
FLAGS = ("sslv2 sslv3 tlsv1 tlsv1_1 tlsv1_2 tlsv1_3 elliptic_curves certinfo compression early_data openssl_ccs fallback "
         "heartbleed robot reneg resum http_headers ems")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roostd", type=Path, default=ROOT / "target/release/roostd")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roost-scan-") as directory:
        work = Path(directory)
        make_certificates(work)
        version, found = scan(options.roostd, work)
    rows, unexplained = judge(found)
    DOCUMENT.write_text(document(version, rows))
    print(DOCUMENT.read_text())
    sys.exit(bool(unexplained))


def make_certificates(work):
    openssl = lambda *command: subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=work)
    new_key = lambda name: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
    openssl("req", "-x509", *new_key("ca"), "-days", "30", "-subj", "/CN=scan", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem")
    openssl("req", *new_key("server"), "-subj", "/CN=localhost", "-out", "request.pem")
    (work / "ext").write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n"
                              "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "ext", "-out", "server.pem")


def scan(roostd, work):
    """sslyze's version, and what it says of the one server."""
    beside = Path(sys.executable).with_name("sslyze")
    sslyze = str(beside) if beside.is_file() else shutil.which("sslyze")
    if not sslyze:
        sys.exit("sslyze is not there: pip install sslyze==6.3.1")
    command = [roostd, "run", "--listen-tls", "127.0.0.1:0", "--tls-certificate", work / "server.pem", "--tls-key", work / "server.key"]
    log = work / "roostd.log"
    with open(log, "wb") as out:
        daemon = subprocess.Popen([*WITH_PARENT, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_S
        while not (ready := re.search(r"ready address=\S+:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", log.read_text()))):
            if daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the daemon did not start:\n{log.read_text()}")
            time.sleep(0.05)
        checks = ["--" + check for check in FLAGS.split()]
        command = [sslyze, *checks, "--mozilla_config", "disable", "--quiet", "--slow_connection", "--certinfo_ca_file", work / "ca.pem", "--json_out", work / "found.json",
                   f"localhost:{ready[1]}{{127.0.0.1}}"]
        subprocess.run([str(part) for part in command], timeout=SCAN_S, check=False)
        reconnect = ["openssl", "s_client", "-connect", f"127.0.0.1:{ready[1]}", "-tls1_2", "-reconnect"]
        reused = subprocess.run(reconnect, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout.count("Reused, TLSv1.2")
    finally:
        daemon.send_signal(signal.SIGINT)
        daemon.wait(30)
    found = json.loads((work / "found.json").read_text())
    server = found["server_scan_results"][0]
    if server["connectivity_status"] != "COMPLETED":
        sys.exit(f"sslyze did not reach the daemon: {server['connectivity_error_trace']}")
    server["scan_result"]["session_resumption"]["result"]["openssl_reused"] = reused
    return found["sslyze_version"], server["scan_result"]


def judge(found):
    """Rows `(check, found, explanation)`, and how many have none."""
    rows, unexplained = [], 0
    for name, check in CHECKS.items():
        attempt = found.get(name)
        if attempt is None or attempt["status"] != "COMPLETED":
            rows.append((name, f"not checked: {attempt and attempt['error_reason']}", "**not known**"))
            unexplained += 1
            continue
        text, why = check(attempt["result"])
        unexplained += why is None
        rows.append((name, text, why or "**not explained**"))
    for name in sorted(set(found) - set(CHECKS)):
        rows.append((name, "a check that this script does not know", "**not explained**"))
        unexplained += 1
    return rows, unexplained


def suites(result, expected):
    names = [one["cipher_suite"]["name"] for one in result["accepted_cipher_suites"]]
    return ", ".join(f"`{name}`" for name in names) or "none", set(names) == set(expected)


def old(result):
    text, is_so = suites(result, [])
    return text, "good: versions before 1.2 are not spoken" if is_so else None


def tls12(result):
    text, is_so = suites(result, ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                                  "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"])
    return text, "good: forward secrecy and AEAD alone; the RSA ones need a certificate with an RSA key" if is_so else None


def tls13(result):
    text, is_so = suites(result, ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
    return text, "good: all of RFC 8446 but CCM, for devices with little memory" if is_so else None


def flag(key, bad, why):
    """A result that is one answer: whether the server is vulnerable, or has something."""
    return lambda result: (f"{key}: {str(result[key]).lower()}", why if result[key] is not bad else None)


def robot(result):
    answer = result["robot_result"]
    return answer, "good: there is no RSA key exchange" if answer.startswith("NOT_VULNERABLE") else None


def renegotiation(result):
    secure, dos = result["supports_secure_renegotiation"], result["is_vulnerable_to_client_renegotiation_dos"]
    text = f"secure renegotiation announced: {str(secure).lower()}; a client can renegotiate: {str(dos).lower()}"
    return text, "good: RFC 5746 is announced, so that clients do not refuse, and each attempt gets no_renegotiation" if secure and not dos else None


def resumption(result):
    ids, tickets = result["session_id_resumption_result"], result["tls_ticket_resumption_result"]
    reused = result["openssl_reused"]
    text = f"TLS 1.2: session IDs {ids}, tickets {tickets}; `openssl s_client -reconnect` resumes {reused} of 5 times"
    good = ids == "NOT_SUPPORTED" and reused == 5
    return text, ("as meant: tickets keep nothing on the server, IDs would. sslyze counts a resumption only if the server sends the "
                  "same ticket again; here each brings a new one (RFC 5077 §3.3), and OpenSSL says `Reused`. Tickets of TLS 1.3 "
                  "are asked by `e2e/tls/run.py`") if good else None


def certificate(result):
    deployment = result["certificate_deployments"][0]
    chain = deployment["verified_certificate_chain"]
    text = f"{'trusted by the authority of the scan' if chain else 'not trusted'}; OCSP response: {'yes' if deployment['ocsp_response'] else 'none'}"
    return text, "as given: an OCSP response is sent where `ocsp` names one" if chain else None


def curves(result):
    names = [one["name"] for one in result["supported_curves"]]
    good = set(names) <= {"X25519", "secp256r1", "secp384r1"} and "X25519" in names
    return ", ".join(names), "good; the scan does not know X25519MLKEM768, which comes first" if good else None


def headers(result):
    text = "Strict-Transport-Security: " + ("sent" if result["strict_transport_security_header"] else "none")
    return text, ("left to who owns the name: HSTS binds every service of the host, for months. `wss://` is asked for by "
                  "the page's own URL, which the header of the site that serves it decides")



CHECKS = {
    "ssl_2_0_cipher_suites": old,
    "ssl_3_0_cipher_suites": old,
    "tls_1_0_cipher_suites": old,
    "tls_1_1_cipher_suites": old,
    "tls_1_2_cipher_suites": tls12,
    "tls_1_3_cipher_suites": tls13,
    "elliptic_curves": curves,
    "certificate_info": certificate,
    "tls_compression": flag("supports_compression", True, "good: CRIME needs it"),
    "tls_1_3_early_data": flag("supports_early_data", True, "good: early data can be replayed"),
    "openssl_ccs_injection": flag("is_vulnerable_to_ccs_injection", True, "good"),
    "tls_fallback_scsv": flag("supports_fallback_scsv", False, "good: RFC 7507"),
    "heartbleed": flag("is_vulnerable_to_heartbleed", True, "good: there is no heartbeat"),
    "robot": robot,
    "session_renegotiation": renegotiation,
    "session_resumption": resumption,
    "http_headers": headers,
    "tls_extended_master_secret": flag("supports_ems_extension", False, "good: RFC 7627"),
}


def document(version, rows):
    lines = ["# A scan of TLS", "", f"What sslyze {version} finds of a daemon with an ECDSA certificate, and what is to be said to it. "
             "Written by", "", "<!-- check: skip needs sslyze and minutes -->", "```sh", "pip install sslyze==6.3.1",
             "scripts/tls_scan.py", "```", "", "| check | found | |", "|---|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {text} | {why} |" for name, text, why in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

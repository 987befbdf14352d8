#!/usr/bin/env python3
"""Runs the program against object stores of others on this machine: moto (PyPI) for S3, Azurite (npm) for Azure
Blob Storage; for Google Cloud Storage none has been tried. From `init` to `prune`, over a simulated tenant, and
then what it says when the key is wrong, the bucket is missing, or nobody answers. No secret may be in what it says.

    cli/tests/object_stores.py [m365-backup [m365-simulator]]

The first must have the features s3 and azure; without arguments both are built. The servers are installed below
SERVERS_DIR (target/servers by default), where backup-store/tests/servers.sh has them too; what is missing is said.
"""
import base64, email.utils, hashlib, hmac, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time
import urllib.parse, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SERVERS = pathlib.Path(os.environ.get("SERVERS_DIR", TARGET / "servers"))
# The account and key that every emulator of Azure's has; they are published and protect nothing.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CANARY = "canary7f3a" * 4
failed = []


def main():
    programs = [pathlib.Path(path).resolve() for path in sys.argv[1:]]
    program, simulator = (programs + built()[len(programs):])[:2] if len(programs) < 2 else programs[:2]
    with tempfile.TemporaryDirectory() as folder:
        work, children = pathlib.Path(folder), []
        try:
            tenant = serve(simulator, work, children)
            for name, start in [("moto", moto), ("azurite", azurite)]:
                place = start(work, children)
                if isinstance(place, str):
                    print(f"SKIPPED {name}: {place}")
                    continue
                story(name, Runner(program, work / name, tenant, *place))
            print("SKIPPED gcs: no server for it has been tried")
        finally:
            for child in children:
                child.send_signal(signal.SIGTERM)
                child.wait()
    print(f"== failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


def built():
    cargo = ["cargo", "build", "--locked", "-q", "--manifest-path", str(ROOT / "Cargo.toml")]
    subprocess.run([*cargo, "-p", "m365-backup", "--features", "s3,azure"], check=True)
    subprocess.run([*cargo, "-p", "m365-simulator", "--bin", "m365-simulator"], check=True)
    return [TARGET / "debug" / "m365-backup", TARGET / "debug" / "m365-simulator"]


def serve(simulator, work, children):
    file = work / "tenant.json"
    command = [simulator, "serve", "--tenant-file", file, "--users", "3", "--messages", "20", "--files", "5",
               "--mebibytes", "4"]
    children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    for _ in range(300):
        if file.exists():
            return json.loads(file.read_text())
        time.sleep(0.1)
    sys.exit("m365-simulator did not begin to serve")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def listening(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.1)
    return False


def installed(tool, command, log):
    """Installs a server unless it is there; returns why it cannot be."""
    if tool.exists():
        return None
    if shutil.which(command[0][0]) is None:
        return f"no {command[0][0]}"
    with open(log, "w") as out:
        for step in command:
            if subprocess.run(step, stdout=out, stderr=out).returncode:
                return "it could not be installed"
    return None


def moto(work, children):
    tool = SERVERS / "moto" / "bin" / "moto_server"
    steps = [["python3", "-m", "venv", SERVERS / "moto"],
             [SERVERS / "moto" / "bin" / "pip", "install", "-q", "moto[server,s3]==5.2.5"]]
    SERVERS.mkdir(parents=True, exist_ok=True)
    if why := installed(tool, steps, work / "moto.log"):
        return why
    port = free_port()
    # Of all that the server does, it checks signatures only where it is told to.
    environment = dict(os.environ, INITIAL_NO_AUTH_ACTION_COUNT="5")
    log = open(work / "moto.out", "w")
    children.append(subprocess.Popen([tool, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log, env=environment))
    if not listening(port):
        return "it does not listen"
    key = keys_of_moto(f"http://127.0.0.1:{port}")
    environment = {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1], "AWS_REGION": "us-east-1",
                   "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true"}
    wrong = {"AWS_SECRET_ACCESS_KEY": CANARY}
    nobody = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    return "s3", environment, wrong, nobody


def keys_of_moto(endpoint):
    """Makes a user who may do everything, with a key, and the bucket: five requests that need no signature."""
    def ask(service, **parameters):
        form = urllib.parse.urlencode(parameters).encode()
        scope = f"Credential=none/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}"}
        with urllib.request.urlopen(urllib.request.Request(endpoint, form, headers)) as answer:
            return answer.read().decode()

    ask("iam", Action="CreateUser", UserName="backup", Version="2010-05-08")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    ask("iam", Action="PutUserPolicy", UserName="backup", PolicyName="all", PolicyDocument=json.dumps(policy),
        Version="2010-05-08")
    answer = ask("iam", Action="CreateAccessKey", UserName="backup", Version="2010-05-08")
    within = lambda name: answer.split(f"<{name}>")[1].split(f"</{name}>")[0]
    request = urllib.request.Request(f"{endpoint}/backups", method="PUT")
    urllib.request.urlopen(request).close()
    urllib.request.urlopen(f"{endpoint}/backups").close()
    return within("AccessKeyId"), within("SecretAccessKey")


def azurite(work, children):
    tool = SERVERS / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    steps = [["npm", "install", "--silent", "--prefix", SERVERS / "azurite", "azurite@3.35.0"]]
    SERVERS.mkdir(parents=True, exist_ok=True)
    if why := installed(tool, steps, work / "azurite.log"):
        return why
    port = free_port()
    log = open(work / "azurite.out", "w")
    command = [tool, "--silent", "--skipApiVersionCheck", "--location", work / "azurite-data", "--blobHost", "127.0.0.1",
               "--blobPort", str(port)]
    children.append(subprocess.Popen(command, stdout=log, stderr=log))
    if not listening(port):
        return "it does not listen"
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    now = email.utils.formatdate(usegmt=True)
    signed = (f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{now}\nx-ms-version:2021-08-06\n/{ACCOUNT}/{ACCOUNT}/backups\n"
              "restype:container")
    digest = hmac.new(base64.b64decode(ACCOUNT_KEY), signed.encode(), hashlib.sha256).digest()
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06", "Content-Length": "0",
               "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/backups?restype=container", method="PUT", headers=headers))
    environment = {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": ACCOUNT_KEY, "AZURE_STORAGE_ENDPOINT": endpoint,
                   "AZURE_ALLOW_HTTP": "true"}
    wrong = {"AZURE_STORAGE_KEY": base64.b64encode(CANARY.encode()).decode()}
    nobody = {"AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{free_port()}/{ACCOUNT}"}
    return "azure", environment, wrong, nobody


class Runner:
    """The program with a config whose store is in a bucket."""

    def __init__(self, program, folder, tenant, scheme, environment, wrong, nobody):
        self.program, self.folder, self.tenant, self.scheme = program, folder, tenant, scheme
        self.environment, self.wrong, self.nobody = environment, wrong, nobody
        folder.mkdir()
        (folder / "passphrase").write_text("correct horse battery staple\n")
        (folder / "secret").write_text(tenant["secret"])
        (folder / "set.toml").write_text(f"""name = "test"
store = "{scheme}://backups/contoso"
state = "state"
passphrase = {{ file = "passphrase" }}
[tenant]
id = "{tenant["tenant"]}"
client-id = "{tenant["client"]}"
client-secret = {{ file = "secret" }}
cloud = {{ login = "{tenant["login"]}", graph = "{tenant["graph"]}", ews = "{tenant["ews"]}" }}
[network]
proxy = "none"
ca-file = "{tenant["ca"]}"
""")
        self.said = ""

    def run(self, *arguments, **other):
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        command = [self.program, *arguments, "--config", self.folder / "set.toml"]
        done = subprocess.run(command, cwd=self.folder, env={**kept, **self.environment, **other}, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        self.said += done.stdout + done.stderr
        return done

    def well(self, name, *arguments, expected=""):
        started = time.monotonic()
        done = self.run(*arguments)
        last = (done.stdout.strip().splitlines() or [""])[-1]
        if done.returncode == 0 and expected in done.stdout:
            print(f"passed  {name} {' '.join(arguments)} ({time.monotonic() - started:.1f} s): {last}")
        else:
            print(f"FAILED  {name} {' '.join(arguments)}: code {done.returncode}\n{done.stdout}{done.stderr}")
            failed.append(f"{name} {arguments[0]}")

    def badly(self, name, what, *arguments, words=(), **other):
        """A command that must fail, with words that say what to do, and soon."""
        started = time.monotonic()
        done = self.run(*arguments, **other)
        took = time.monotonic() - started
        told = done.stderr.strip().splitlines()
        good = done.returncode not in (0, 101) and "next:" in done.stderr and all(w in done.stderr for w in words)
        print(f"{'passed ' if good else 'FAILED '} {name}, {what} ({took:.1f} s), exit code {done.returncode}:")
        print("\n".join("          " + line for line in told))
        if not good:
            failed.append(f"{name}, {what}")


def story(name, runner):
    print(f"== {name}")
    runner.well(name, "init")
    runner.well(name, "backup", "-v", "--log-file", "log")
    runner.well(name, "snapshots")
    runner.well(name, "check", "--all-data")
    runner.well(name, "backup")
    user = runner.tenant["user"]
    # One tenant for all of them: what is restored for one store would be there already for the next.
    others = [name for name in runner.tenant["users"] if name != user]
    other = others[0] if runner.scheme == "s3" else others[1]
    for service in ["outlook", "onedrive"]:
        restore = ["restore", "latest", "--owner", user, "--service", service, "--to", other, "--yes"]
        runner.well(name, *restore)
    runner.well(name, "stats")
    runner.well(name, "prune", "--yes")
    runner.well(name, "check", "--all-data")
    runner.badly(name, "a second store in the place of the first", "init")
    runner.badly(name, "a wrong key", "snapshots", "-vvv", words=["check A"], **runner.wrong)
    missing = f"{runner.scheme}://not-there/contoso"
    runner.badly(name, "a missing bucket", "snapshots", "-vvv", "--store", missing, words=["makes none"])
    runner.badly(name, "init in a missing bucket", "init", "--store", missing, words=["makes none"])
    elsewhere = f"{runner.scheme}://backups/nothing"
    runner.badly(name, "no store in the bucket", "snapshots", "--store", elsewhere)
    runner.badly(name, "nobody answers", "snapshots", "-vvv", words=["check the network"], **runner.nobody)
    log = (runner.folder / "log").read_text() if (runner.folder / "log").exists() else ""
    keys = [CANARY, "correct horse"]
    keys += [value for key, value in {**runner.environment, **runner.wrong}.items() if key.endswith("KEY")]
    for key in keys:
        if key in runner.said or key in log:
            print(f"FAILED  {name}: a secret is said")
            failed.append(f"{name} says a secret")
    print(f"passed  {name}: {len(keys)} secrets in none of {len(runner.said) + len(log)} bytes")


if __name__ == "__main__":
    main()

"""Copies files to and from the simulated tenant's OneDrive with rclone, through the tenant's proxy."""

import json
import os
import random
import subprocess
import sys

with open(sys.argv[1]) as file:
    TENANT = json.load(file)
WORK = sys.argv[2]


def configure():
    token = {
        "access_token": "expired",
        "token_type": "Bearer",
        "refresh_token": TENANT["refresh"],
        "expiry": "2020-01-01T00:00:00Z",
    }
    lines = {
        "type": "onedrive",
        "client_id": TENANT["client"],
        "client_secret": TENANT["secret"],
        "token": json.dumps(token),
        "drive_id": TENANT["drive"],
        "drive_type": "business",
    }
    path = os.path.join(WORK, "rclone.conf")
    with open(path, "w") as file:
        file.write("[tenant]\n")
        file.writelines(f"{name} = {value}\n" for name, value in lines.items())
    return path


CONFIG = configure()
ENVIRONMENT = dict(os.environ, HTTPS_PROXY=TENANT["proxy"], SSL_CERT_FILE=TENANT["ca"])


def rclone(*arguments):
    command = ["rclone", "--config", CONFIG, "--retries", "1", "--low-level-retries", "3", *arguments]
    answer = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, f"{' '.join(arguments)}: {answer.stderr[-3000:]}"
    return answer.stdout


def write(folder, name, size):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(random.Random(name).randbytes(size))


def main():
    version = rclone("version").split("\n")[0]
    listed = json.loads(rclone("lsjson", "--recursive", "--hash", "tenant:"))
    files = [entry for entry in listed if not entry["IsDir"]]
    assert len(files) >= 2, listed
    # Releases before 1.62 name the hash otherwise.
    assert all(set(entry["Hashes"]) & {"quickxor", "QuickXorHash"} for entry in files if entry["Size"])
    print(f"  {version}: {len(listed)} items listed with their hashes")

    up, down = os.path.join(WORK, "up"), os.path.join(WORK, "down")
    for name, size in [("empty", 0), ("small.txt", 11), ("a b/ünï#1.bin", 400_000), ("large.bin", 12_000_000)]:
        write(up, name, size)
    rclone("copy", up, "tenant:from rclone")
    rclone("check", up, "tenant:from rclone")
    print(f"  {version}: 4 files up, equal by hash")
    rclone("copy", "tenant:from rclone", down)
    rclone("check", "--download", down, "tenant:from rclone")
    for name in ["empty", "small.txt", "a b/ünï#1.bin", "large.bin"]:
        with open(os.path.join(up, name), "rb") as one, open(os.path.join(down, name), "rb") as other:
            assert one.read() == other.read(), name
    print(f"  {version}: 4 files down, equal byte by byte")
    rclone("moveto", "tenant:from rclone/small.txt", "tenant:from rclone/moved.txt")
    rclone("purge", "tenant:from rclone")
    assert "from rclone/" not in rclone("lsf", "tenant:").split("\n")
    print(f"  {version}: a file moved, the folder purged")


main()

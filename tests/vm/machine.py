# SPDX-License-Identifier: MIT
"""A small guest in QEMU with an emulated assigned device, and the vitrine that is its display: started, talked to, ended.

Everything here is a child of this process, ended by its own pid. A Guest answers commands on its first serial port (guest/init); the
kernel's messages go to a file of their own. Time-outs are in seconds and generous: software emulation on a busy machine is slow.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from console import Console  # noqa: E402
from tap import Failure  # noqa: E402

BAR_SIZE = 64 << 20
MEMORY_MB = 768
BOOT_TIMEOUT = 120
SILENT_TIMEOUT = 60
POWER_ONS = 3
MODULES = ("vfio_iommu_type1", "vfio_pci", "virtio_gpu")


# Children end with this process, however it ends.
ENDS_WITH_US = ["setpriv", "--pdeathsig", "TERM", "--"]


def end_process(process, grace=5):
    """Ends a child: asks, then insists."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_script(command, what):
    """Runs one of our scripts; what: the failure, if it is one."""
    answer = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
    if answer.returncode:
        raise Failure(f"{what}: {answer.stderr.strip()}")


class Kit:
    """The cache that kit.sh makes: QEMU, busybox, kernel."""

    def __init__(self):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self.path = pathlib.Path(os.environ.get("VITRINE_KIT") or os.path.join(cache, "vitrine", "kit"))
        self._qemu = None

    def missing(self, gl=False):
        """What the kit lacks, in words, or None. gl: its part for guests with OpenGL is needed, too."""
        for file in ("tree/usr/bin/busybox", "kernel/vmlinuz"):
            if not (self.path / file).exists():
                return f"{self.path / file} is missing: run tests/vm/kit.sh"
        if gl and not self.gl_disk().exists():
            return f"{self.gl_disk()} is missing: run tests/vm/kit.sh gl"
        return None

    def gl_disk(self):
        return self.path / "gl/disk.img"

    def _packed_qemu(self):
        tree = self.path / "tree"
        libraries = tree / "usr/lib/x86_64-linux-gnu"
        command = [str(tree / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(libraries),
                   str(tree / "usr/bin/qemu-system-x86_64"),
                   "-L", str(tree / "usr/share/seabios"), "-L", str(tree / "usr/share/qemu")]
        return command, dict(os.environ, QEMU_MODULE_DIR=str(libraries / "qemu"))

    @staticmethod
    def _host_qemu():
        """The machine's own QEMU when it can be a vfio-user client: 10.1 or newer, with the device built in."""
        program = shutil.which("qemu-system-x86_64")
        if not program:
            return None
        try:
            version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
            number = re.search(r"version (\d+)\.(\d+)", version)
            devices = subprocess.run([program, "-device", "help"], capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        if number and (int(number[1]), int(number[2])) >= (10, 1) and '"vfio-user-pci"' in devices:
            return [program], dict(os.environ)
        return None

    def qemu(self):
        """(command, environment) of a QEMU that has vfio-user-pci: the machine's own, else the kit's."""
        if not self._qemu:
            self._qemu = self._host_qemu() or self._packed_qemu()
        return self._qemu

    def qemu_version(self):
        command, environment = self.qemu()
        answer = subprocess.run(command + ["--version"], env=environment, capture_output=True, text=True, timeout=30, check=False)
        if answer.returncode:
            raise Failure(f"{command[0]} does not start: {answer.stderr.strip()}; remove {self.path} and run tests/vm/kit.sh again")
        return answer.stdout.splitlines()[0]

    def kernel_version(self):
        return os.listdir(self.path / "kernel/lib/modules")[0]

    def initramfs(self, out, files=(), programs=(), modules=MODULES):
        """Packs an initramfs with these files and dynamic programs into `out`."""
        command = [str(HERE / "initramfs.sh"), "-k", str(self.path), "-o", str(out)]
        for module in modules:
            command += ["-m", module]
        for program in programs:
            command += ["-p", str(program)]
        run_script(command + [str(file) for file in files], "the guest's initramfs cannot be packed")
        return out

    def accelerator(self, work):
        """'kvm' where a guest really comes up under KVM, else 'tcg,thread=multi'. A /dev/kvm that opens is no proof, and neither is
        firmware that runs: the same kernel is booted once; what came of it is remembered in the kit until the next reboot."""
        slow = "tcg,thread=multi"
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return slow
        note = self.path / "accelerator"
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        with_boot = {f"{boot} {accelerator}": accelerator for accelerator in ("kvm", slow)}
        with_note = note.read_text(encoding="ascii").strip() if note.exists() else ""
        if with_note in with_boot:
            return with_boot[with_note]
        found = "kvm" if self._kvm_boots(work) else slow
        try:
            note.write_text(f"{boot} {found}\n", encoding="ascii")
        except OSError:
            pass  # asked again next time
        return found

    def _kvm_boots(self, work):
        directory = pathlib.Path(work) / "kvm"
        directory.mkdir(exist_ok=True)
        guest = Guest(self, directory, self.initramfs(directory / "initramfs.gz", modules=()), accelerator="kvm",
                      give_up=r"KVM internal error|failed to initialize kvm")
        try:
            guest.start()
            guest.wait_ready(timeout=20)
            return True
        except Failure:
            return False
        finally:
            guest.stop()


class Guest(Console):
    """One guest in one QEMU. gpu: path of the vfio-user socket of its display, or None. share: its RAM has an fd that is shared.
    give_up: what in QEMU's messages ends every wait."""

    def __init__(self, kit, work, initramfs, accelerator, gpu=None, share=True, append="", memory_mb=MEMORY_MB, bar_size=BAR_SIZE,
                 give_up=None, extra=()):
        super().__init__()
        self.kit, self.work, self.initramfs, self.accelerator = kit, pathlib.Path(work), initramfs, accelerator
        self.gpu, self.share, self.append, self.memory_mb, self.extra = gpu, share, append, memory_mb, list(extra)
        self.bar_size, self.give_up = bar_size, give_up
        self.process = None

    def _arguments(self):
        backend = "memory-backend-memfd,share=on" if self.share else "memory-backend-ram"
        arguments = [
            "-M", "q35,kernel-irqchip=split,memory-backend=mem", "-accel", self.accelerator, "-cpu", "EPYC", "-smp", "2",
            "-m", str(self.memory_mb), "-object", f"{backend},id=mem,size={self.memory_mb}M", "-nodefaults", "-display", "none",
            "-serial", "stdio", "-serial", f"file:{self.work / 'kernel.log'}",
            "-device", "intel-iommu,caching-mode=on,intremap=on",
            "-object", f"memory-backend-memfd,id=bar,size={self.bar_size},share=on",
            "-device", "ivshmem-plain,memdev=bar,addr=05.0",
            "-kernel", str(self.kit.path / "kernel/vmlinuz"), "-initrd", str(self.initramfs),
            "-append", f"console=ttyS1 intel_iommu=on iommu=pt panic=-1 loglevel=5 {self.append}".strip(),
        ]
        if self.gpu:
            device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(self.gpu)}, "addr": "06.0"}
            arguments += ["-device", json.dumps(device)]
        return arguments + self.extra

    def start(self):
        command, environment = self.kit.qemu()
        with open(self.work / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(ENDS_WITH_US + command + self._arguments(), env=environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log)
        self.attach(self.process.stdout, self.process.stdin)

    def trouble(self):
        found = self.give_up and re.search(self.give_up, self.log("qemu.log"))
        return f"QEMU says: {found[0]}" if found else None

    def ended(self):
        return f"QEMU ended with status {self.process.wait()}: {self.log('qemu.log')[-500:]}"

    def wait_ready(self, timeout=BOOT_TIMEOUT):
        """As Console's. Emulated processors of a busy machine now and then spin for ever in the first second of a kernel, before it has
        looked for any device: a machine that has said nothing since it was started is powered on again."""
        for left in reversed(range(POWER_ONS)):
            again = left and not self.transcript and self.accelerator.startswith("tcg")
            try:
                super().wait_ready(min(timeout, SILENT_TIMEOUT) if again else timeout)
                return
            except Failure:
                if not again or self.transcript or self.process.poll() is not None:
                    raise
            self.stop()
            self.start()

    def log(self, name):
        path = self.work / name
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self):
        """The ends of all there is to read about this guest."""
        kernel = self.log("kernel.log").splitlines()[-15:]
        qemu = [line for line in self.log("qemu.log").splitlines() if "doesn't support requested feature" not in line][-10:]
        return "\n".join(["serial console:", *self.transcript[-15:], "kernel:", *kernel, "qemu:", *qemu])

    def kill(self):
        """QEMU dies at once, as in a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process:
            end_process(self.process)
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def vhost_user_device(socket, *properties):
    """QEMU's device for any vhost-user back-end, as a virtio-gpu: it passes on all features, blobs among them."""
    device = ["vhost-user-test-device-pci", "virtio-id=16", "num_vqs=2", "vq_size=256", "config_size=16", "chardev=gpu", "addr=06.0"]
    return ["-chardev", f"socket,id=gpu,path={socket}", "-device", ",".join([*device, *properties])]


class Vitrine:
    """A running vitrine, with a headless display if nothing else is said, and vitrinectl to talk to it. protocol: what the VMM speaks."""

    def __init__(self, programs, work, options=(), size="1280x800", display="headless", env=None, protocol="vfio-user"):
        self.program, self.ctl = programs["vitrine"], programs["vitrinectl"]
        self.work = pathlib.Path(work)
        self.socket, self.control = self.work / "gpu.sock", self.work / "control.sock"
        self.options, self.size, self.display, self.env, self.protocol = list(options), size, display, env, protocol
        self.process = None

    def start(self, timeout=20):
        command = [str(self.program), f"--{self.protocol}", str(self.socket), "--control", str(self.control),
                   "--display", self.display, "--output", self.size, *self.options]
        with open(self.work / "vitrine.log", "wb") as log:
            self.process = subprocess.Popen(ENDS_WITH_US + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.env)
        deadline = time.monotonic() + timeout
        while not self.socket.exists() or self._call("status", "--json").returncode:
            if self.process.poll() is not None:
                raise Failure(f"vitrine ended with status {self.process.returncode}: {self.log()[-500:]}")
            if time.monotonic() > deadline:
                raise Failure(f"vitrine does not answer on {self.control} within {timeout} s: {self.log()[-500:]}")
            time.sleep(0.05)

    def _call(self, *arguments, timeout=30):
        command = [str(self.ctl), "--control", str(self.control), *map(str, arguments)]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"vitrinectl {' '.join(map(str, arguments))} did not end within {timeout} s") from None

    def ask(self, *arguments, timeout=30):
        """Runs vitrinectl and returns what it printed."""
        answer = self._call(*arguments, timeout=timeout)
        if answer.returncode:
            raise Failure(f"vitrinectl {' '.join(map(str, arguments))}: status {answer.returncode}: {answer.stderr.strip()}")
        return answer.stdout

    def status(self):
        return json.loads(self.ask("status", "--json"))

    def scanout(self, number=0):
        return self.status()["scanouts"][number]

    def screenshot(self, path, *options):
        self.ask("screenshot", *options, path)
        return path

    def log(self):
        path = self.work / "vitrine.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def quit(self, timeout=10):
        """Asks vitrine to end and returns its exit status."""
        self.ask("quit")
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"vitrine does not end within {timeout} s") from None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        if self.process:
            end_process(self.process)
            self.process = None


class Environment:
    """What the sessions of a test share: kit, programs, a place to work, and the initramfs of their guests with these programs in it."""

    def __init__(self, programs, work, tap, inside, modules=MODULES):
        self.kit, self.programs, self.work = Kit(), programs, pathlib.Path(work)
        tap.note(self.kit.qemu_version())
        self.accelerator = self.kit.accelerator(self.work)
        tap.note(f"Linux {self.kit.kernel_version()}, {self.accelerator}")
        self.initramfs = self.kit.initramfs(self.work / "initramfs.gz", files=[programs[name] for name in inside], modules=modules)

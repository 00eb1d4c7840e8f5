# SPDX-License-Identifier: MIT
"""The virtual host: a machine with a real vfio-pci, a real /dev/udmabuf and a DRM card that imports device memory; a guest in it.

    this process
     +- vitrine (outer), headless: the virtual host's display card
     +- QEMU: the virtual host, a stock kernel; an emulated device with memory of its own is given to vfio-pci in there
         +- vitrine (inner), under test: a guest's display card, shown on the virtual host's
         +- QEMU: the guest, the same kernel; the device is assigned to it
             +- guest-scanout: draws into the device's memory and shows it

What the outer vitrine takes a picture of is what somebody in front of the virtual host would see. enter_host.py is for looking
around in there.
"""

import contextlib
import json
import pathlib
import shlex
import socket
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import picture  # noqa: E402
from console import Console  # noqa: E402
from machine import Guest, Kit, MODULES, Vitrine, run_script  # noqa: E402
from qmp import Monitor  # noqa: E402
from tap import Failure  # noqa: E402

MEMORY_MB = 3072
GUEST_MEMORY_MB = 512
BAR_SIZE = 256 << 20  # two frames of 3840x2160, scattered, leave half of it unused
HOST_BOOT_TIMEOUT = 240
GUEST_BOOT_TIMEOUT = 600
DEVICE = "0000:00:05.0"  # the one that is assigned, in the host and in the guest
# where the host's kernel has what the machine offers
GUEST_CONSOLE, GUEST_LOG, SHELL = "/dev/ttyS2", "/dev/ttyS3", "/dev/hvc0"


class InnerVitrine:
    """A vitrine in the virtual host. name tells it from others there."""

    def __init__(self, host, name):
        self.host, self.name = host, name
        self.socket, self.control = f"/tmp/{name}.sock", f"/tmp/{name}.control"

    def device(self, place):
        """What QEMU is given."""
        return {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": self.socket}, "addr": place}

    def start(self, *options):
        """Returns when it answers."""
        command = f"vitrine --vfio-user {self.socket} --control {self.control} {shlex.join(options)}"
        self.host.run(f"{command} >/tmp/{self.name}.log 2>&1 & {self.name}=$!")
        self.host.run(f"for i in $(seq 300); do [ -e {self.control} ] && [ -e {self.socket} ] && break; "
                      f"kill -0 ${self.name} || break; sleep 0.1; done")
        try:
            self.ask("status")
        except Failure as failure:
            raise Failure(f"{failure}\n{self.log()}") from None

    def ask(self, command, timeout=60):
        """Runs vitrinectl and returns what it printed."""
        return "\n".join(self.host.run(f"vitrinectl --control {self.control} {command} 2>&1", timeout))

    def status(self):
        return json.loads(self.ask("status --json"))

    def scanout(self, number=0):
        return self.status()["scanouts"][number]

    def cpu_ns(self):
        """CPU time of all its threads."""
        return sum(int(line.split()[0]) for line in self.host.run(f"cat /proc/${self.name}/task/*/schedstat"))

    def check_alive(self):
        self.host.run(f"kill -0 ${self.name}")

    def log(self):
        return "\n".join(self.host.run(f"tail -n 30 /tmp/{self.name}.log"))

    def quit(self):
        """Asks it to end and returns its exit status."""
        self.ask("quit")
        return int(self.host.run(f"wait ${self.name}; echo $?")[-1])


class VirtualHost:
    """The machine with everything outside of it, and the guest in it. outputs: the sizes of the host's monitors."""

    def __init__(self, programs, work, note=print, outputs=("1280x800",), extra_programs=(), append=""):
        self.kit, self.work = Kit(), pathlib.Path(work)
        self.accelerator = self.kit.accelerator(self.work)
        note(f"{self.kit.qemu_version()}, Linux {self.kit.kernel_version()}, {self.accelerator}")
        self.shell = self.work / "shell.sock"
        self.monitor = Monitor(self.work / "qmp.sock")
        options = [word for size in outputs[1:] for word in ("--output", size)]
        self.outer = Vitrine(programs, self.work, options, outputs[0])
        self.machine = Guest(self.kit, self.work, self._pack(programs, extra_programs), self.accelerator, gpu=self.outer.socket,
                             append=append, memory_mb=MEMORY_MB, bar_size=BAR_SIZE, extra=self._devices())
        self.guest = Console()
        self.cards, self.shots, self.calls = {}, 0, 0
        self._guest_console = None

    def _pack(self, programs, extra_programs):
        """The host's disk with QEMU, and its initramfs with our programs and the guest's initramfs in it, which is returned."""
        guest = self.kit.initramfs(self.work / "guest.gz", files=[programs["guest-scanout"]])
        # a machine that is emulated itself has AMD's virtualization: several times as fast for its guest as emulation in emulation
        modules = MODULES + ("virtio_blk", "ext4", "bochs") + (() if self.accelerator == "kvm" else ("kvm_amd",))
        run_script([HERE / "host-disk.sh", "-k", self.kit.path, "-o", self.work / "host.img"], "the host's disk cannot be made")
        return self.kit.initramfs(self.work / "host.gz", files=[f"{guest}:/guest.gz"], modules=modules,
                                  programs=[programs["vitrine"], programs["vitrinectl"], *extra_programs])

    def _devices(self):
        unix = "server=on,wait=off"
        return [
            "-chardev", f"socket,id=guest,path={self.work / 'guest.sock'},{unix}", "-serial", "chardev:guest",
            "-serial", f"file:{self.work / 'guest-kernel.log'}",
            "-chardev", f"socket,id=shell,path={self.shell},{unix}",
            "-device", "virtio-serial-pci,addr=0a.0", "-device", "virtconsole,chardev=shell",
            "-drive", f"file={self.work / 'host.img'},format=raw,readonly=on,if=none,id=disk",
            "-device", "virtio-blk-pci,drive=disk,addr=09.0",
            "-device", "bochs-display,id=bochs,edid=on,xres=1280,yres=800,addr=08.0",
            *self.monitor.arguments(),
        ]

    # ---- the host ----

    def start(self):
        self.outer.start()
        self.machine.start()
        self.machine.wait_ready(HOST_BOOT_TIMEOUT)
        # one connection for all guests: their serial port is one of the host's
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.work / "guest.sock"))
            self._guest_console = connection.makefile("rwb")
        self.guest.attach(self._guest_console, self._guest_console)
        self.run("mkdir -p /host /dev/shm && mount -t ext4 -o ro /dev/vda /host")
        self.run(f"echo vfio-pci >/sys/bus/pci/devices/{DEVICE}/driver_override && echo {DEVICE} >/sys/bus/pci/drivers_probe")
        self.run(f"while :; do setsid sh -c 'exec sh -i <{SHELL} >{SHELL} 2>&1'; done &")
        self._find_cards()

    def _find_cards(self):
        """self.cards: paths by driver."""
        for line in self.run("for card in /sys/class/drm/card?; do echo ${card##*/} $(readlink $card/device/driver) "
                             "$(readlink $card/device/../driver); done"):
            name, *drivers = line.split()
            for driver in drivers:
                self.cards.setdefault(driver.rsplit("/", 1)[-1], f"/dev/dri/{name}")

    def run(self, command, timeout=120):
        """One shell command in the host."""
        return self.machine.run(command, timeout)

    def screenshot(self, output=0):
        """What the host's monitor shows."""
        self.shots += 1
        path = self.work / f"shot{self.shots}.png"
        self.outer.screenshot(path, "--scanout", str(output))
        return picture.read_png(path)

    def bochs_screenshot(self):
        """What the monitor at the other card shows."""
        self.shots += 1
        return self.monitor.screen(self.work / f"shot{self.shots}.ppm", device="bochs")

    # ---- the guest ----

    def launch_guest(self, vitrines=()):
        """A process that becomes a QEMU with the assigned device and these display cards as soon as all of them are served. It stops
        before its first instruction: wait_launched() returns then, resume_guest() goes on."""
        self.kill_guest()
        devices = [f"vfio-pci,host={DEVICE},addr=05.0"]
        for number, vitrine in enumerate(vitrines, 6):
            devices.append(json.dumps(vitrine.device(f"{number:02}.0")))
        self.run("rm -f /tmp/monitor.*; mkfifo /tmp/monitor.in /tmp/monitor.out; cat </tmp/monitor.out >/tmp/monitor.text &")
        qemu = " ".join([
            "exec /host/lib/ld-linux-x86-64.so.2 --library-path /host/lib /host/bin/qemu-system-x86_64 -L /host/firmware",
            "-M q35,kernel-irqchip=split,memory-backend=mem -accel kvm -accel tcg -cpu EPYC -smp 1",
            f"-m {GUEST_MEMORY_MB} -object memory-backend-memfd,id=mem,size={GUEST_MEMORY_MB}M,share=on",
            "-nodefaults -no-reboot -display none -S -chardev pipe,id=monitor,path=/tmp/monitor -mon monitor,mode=control",
            f"-chardev serial,path={GUEST_CONSOLE},id=console -serial chardev:console",
            f"-chardev serial,path={GUEST_LOG},id=log -serial chardev:log -device intel-iommu,caching-mode=on,intremap=on",
            *(f"-device {shlex.quote(device)}" for device in devices),
            "-kernel /host/vmlinuz -initrd /guest.gz",
            "-append 'console=ttyS1 intel_iommu=on iommu=pt panic=-1 loglevel=5 drm_kms_helper.fbdev_emulation=0'",
        ])
        served = " && ".join([f"[ -S {vitrine.socket} ]" for vitrine in vitrines] or ["true"])
        script = f"until {served}; do sleep 0.1; done; {qemu}"
        self.run(f"sh -c {shlex.quote(script)} </dev/null >/tmp/qemu.log 2>&1 & qemu=$!")

    def wait_launched(self):
        self.ask_guest("qmp_capabilities")

    def ask_guest(self, command, **arguments):
        """The answer of the monitor of the guest's QEMU."""
        self.calls += 1
        request = json.dumps({"execute": command, "arguments": arguments, "id": self.calls})
        found = f"""grep '"id": {self.calls}[,}}]' /tmp/monitor.text"""
        alive = "kill -0 $qemu 2>/dev/null"
        answer = self.run(f"{alive} && echo {shlex.quote(request)} >/tmp/monitor.in; "
                          f"for i in $(seq 600); do {found} && break; {alive} || break; sleep 0.1; done; "
                          f"{alive} || grep -v warning: /tmp/qemu.log")
        if not answer or not answer[-1].startswith("{"):
            raise Failure(f"the guest's QEMU does not answer {command}: {answer}")
        answer = json.loads(answer[-1])
        if "error" in answer:
            raise Failure(f"the guest's QEMU: {command}: {answer['error']['desc']}")
        return answer["return"]

    def resume_guest(self):
        self.ask_guest("cont")

    def wait_guest(self):
        """Until guest-scanout takes commands."""
        self.guest.wait_ready(GUEST_BOOT_TIMEOUT)
        self.guest.enter("guest-scanout")

    def guest_pid(self):
        """Of the guest's QEMU, in the host."""
        return int(self.run("echo $qemu")[-1])

    def kill_guest(self):
        """The guest's QEMU dies at once, as in a crash."""
        self.run("[ -z \"$qemu\" ] || { kill -KILL $qemu; wait $qemu; }; qemu=")

    # ---- the end ----

    def logs(self):
        """The ends of all there is to read."""
        parts = [self.machine.logs(), "outer vitrine:", self.outer.log()[-1500:], "guest's console:", *self.guest.transcript[-15:],
                 "guest's kernel:", *self.machine.log("guest-kernel.log").splitlines()[-15:]]
        with contextlib.suppress(Failure):
            parts += ["in the host:", *self.run("tail -n 25 /tmp/*.log | grep -v 'warning: host'; dmesg | tail -n 10", timeout=30)]
        return "\n".join(parts)

    def stop(self):
        self.monitor.close()
        self.machine.stop()
        if self._guest_console:
            self._guest_console.close()
        self.outer.stop()

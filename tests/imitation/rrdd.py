"""xcp-rrdd as plugins meet it: its socket, the folder that it watches, and a reading. Written from xen-api
v26.1.3, ocaml/xcp-rrdd: lib/transport/base/rrd_protocol_v2.ml and rrd_rpc.ml (the file), lib/transport/file/
rrd_file_reader.ml (mapped once), bin/rrdd/rrdd_server.ml (Plugin: register, read_stats, skips after errors),
bin/rrdd/xcp_rrdd.ml (Discover, do_monitor_write), bin/rrdd/rrdd_monitor.ml (whose data sources count). What
it records of them is in rrd_archive.py."""

import ctypes
import json
import mmap
import os
import re
import socket
import struct
import threading
import xmlrpc.client
import zlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from rrd_archive import Gauge

FOLDER, SOCKET = "/dev/shm/metrics", "/var/xapi/xcp-rrdd"
MAGIC = b"DATASOURCES"
LONGEST_SKIP = 256


CREATE, DELETE, MOVED_FROM, MOVED_TO = 0x100, 0x200, 0x40, 0x80  # include/uapi/linux/inotify.h


class Folder:
    """What has happened in a folder, in its order."""

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watch = libc.inotify_add_watch(
            self._descriptor, path.encode(), CREATE | DELETE | MOVED_FROM | MOVED_TO
        )
        assert self._descriptor >= 0
        assert watch >= 0

    def events(self) -> Iterator[Tuple[int, str]]:
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return
        place = 0
        while place < len(data):
            _watch, mask, _cookie, length = struct.unpack_from("=iIII", data, place)
            yield mask, data[place + 16 : place + 16 + length].rstrip(b"\0").decode()
            place += 16 + length

    def close(self) -> None:
        os.close(self._descriptor)


class NoUpdate(Exception):
    """The file is as it was at the last reading."""


class Invalid(Exception):
    """rrdd's Invalid_header_string, Invalid_checksum or Invalid_payload, or a read beyond the file."""


class DataSource(NamedTuple):
    name: str
    owner: Tuple[str, ...]  # ("host",), ("vm", UUID), ("sr", UUID)
    kind: str  # gauge, absolute, derive
    units: str
    default: bool
    value: float
    least: float
    most: float


class Reader:
    """One registered file. It is mapped as long as it is now; however it grows later that is all of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._map = self._mapped()
        self._last_data, self._last_metadata = 0, 0
        self._known: List[DataSource] = []

    def _mapped(self) -> Optional[mmap.mmap]:
        with open(self._path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None

    def _bytes(self, start: int, length: int) -> bytes:
        """Cstruct raises Invalid_argument for what is not within."""
        if self._map is None or start + length > len(self._map):
            raise Invalid("beyond the file")
        return self._map[start : start + length]

    def payload(self) -> Tuple[float, List[DataSource]]:
        if self._map is None:
            self._map = self._mapped()
        if self._bytes(0, 11) != MAGIC:
            raise Invalid("header")
        data_crc, metadata_crc, count = struct.unpack(">III", self._bytes(11, 12))
        if data_crc == self._last_data:
            raise NoUpdate
        checked = self._bytes(23, 8 + 8 * count)
        if zlib.crc32(checked) != data_crc:
            raise Invalid("checksum of the data")
        self._last_data = data_crc
        if metadata_crc != self._last_metadata:
            (length,) = struct.unpack(">I", self._bytes(31 + 8 * count, 4))
            metadata = self._bytes(35 + 8 * count, length)
            if zlib.crc32(metadata) != metadata_crc:
                raise Invalid("checksum of the metadata")
            self._last_metadata = metadata_crc
            self._known = described(metadata)
        formats = {"float": ">d", "int64": ">q"}
        found = []
        for place, one in enumerate(self._known):
            raw = self._bytes(31 + 8 * place, 8)  # of more data sources than values it reads what follows
            kind = formats["int64" if isinstance(one.value, int) else "float"]
            found.append(one._replace(value=struct.unpack(kind, raw)[0]))
        (timestamp,) = struct.unpack_from(">d", checked)
        return timestamp, found


def described(metadata: bytes) -> List[DataSource]:
    """rrdd reads an object as a list of pairs: of two data sources of one name it has both, in order."""

    class Pairs(List[Tuple[str, Any]]):
        pass

    try:
        document = json.loads(metadata.decode().strip("\0"), object_pairs_hook=Pairs)
        (listed,) = [value for key, value in document if key == "datasources"]
        return [_described(name, value) for name, value in listed]
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid(f"metadata: {error}") from error


def _described(name: str, pairs: Sequence[Tuple[str, Any]]) -> DataSource:
    """uninitialised_ds_of_rpc: each value is a text, and these words are all that is understood."""

    def text(key: str, otherwise: str) -> str:
        found = next((value for name, value in pairs if name == key), otherwise)
        if not isinstance(found, str):
            raise ValueError(f"{key} is no string")
        return found

    value_type = text("value_type", "")
    owner = tuple(text("owner", "host").lower().split(" "))
    kind = text("type", "absolute").lower()
    default = text("default", "false")
    if value_type not in ("float", "int64") or kind not in ("gauge", "absolute", "derive"):
        raise ValueError("value_type or type")
    if default not in ("true", "false") or text("transform", "identity") not in ("identity", "inverse"):
        raise ValueError("default or transform")
    if owner != ("host",) and (len(owner) != 2 or owner[0] not in ("vm", "sr")):
        raise ValueError("owner")
    return DataSource(
        name,
        owner,
        kind,
        text("units", ""),
        default == "true",
        0 if value_type == "int64" else 0.0,
        _ocaml_float(text("min", "-infinity")),
        _ocaml_float(text("max", "infinity")),
    )


def _ocaml_float(text: str) -> float:
    if not re.fullmatch(r"-?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)", text):
        raise ValueError(f"float_of_string {text!r}")
    return float(text)


class Plugin:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.first_skip, self.skip = 1, 0


class Rrdd:
    """`seconds` is what it says until its next reading. The folder is watched as its Discover thread does,
    and looked at whenever something is asked of it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.plugins: Dict[str, Plugin] = {}
        self.calls: List[Tuple[str, Dict[str, str]]] = []
        self.log: List[str] = []
        self.seconds = 5.0
        self.answer: Optional[bytes] = None  # in place of its own
        self.is_blind = False  # its Discover thread does not look at the folder
        self.vms: Dict[str, Dict[str, Optional[float]]] = {}  # VM -> data source -> value told, None: none
        self.archives: Dict[str, Dict[str, Gauge]] = {}  # VM -> data source
        self._lock = threading.RLock()
        self._socket: Optional[socket.socket] = None
        os.makedirs(root + FOLDER, exist_ok=True)
        os.makedirs(os.path.dirname(root + SOCKET), exist_ok=True)
        self.start()

    # -- its life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """It knows no plugin but by what is in the folder."""
        self.plugins = {}
        self._folder = Folder(self._root + FOLDER)
        for name in sorted(os.listdir(self._root + FOLDER)):
            self._appeared(name)
        if os.path.lexists(self._root + SOCKET):
            os.unlink(self._root + SOCKET)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self._root + SOCKET)
        self._socket.listen(5)
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None
            os.unlink(self._root + SOCKET)
            self._folder.close()

    def discover(self) -> None:
        with self._lock:
            for mask, name in [] if self.is_blind else self._folder.events():
                if not mask & (DELETE | MOVED_FROM):
                    self._appeared(name)
                elif self._is_valid(name):
                    self.deregister(name)

    @staticmethod
    def _is_valid(name: str) -> bool:
        return not name.endswith(".tmp") and not name.startswith("tap-")

    def _appeared(self, name: str) -> None:
        if self._is_valid(name):
            try:
                self.register(name)
            except OSError as error:  # the thread's loop logs it
                self.log.append(f"discovery: {error}")

    def register(self, uid: str) -> float:
        with self._lock:
            if uid not in self.plugins:
                self.plugins[uid] = Plugin(Reader(f"{self._root}{FOLDER}/{uid}"))
            return self.seconds

    def deregister(self, uid: str) -> None:
        with self._lock:
            self.plugins.pop(uid, None)

    # -- a reading ---------------------------------------------------------------------------------

    def read(self, resident: Sequence[str], now: float = 0.0) -> Dict[str, Dict[str, Optional[float]]]:
        """One cycle of do_monitor_write, at `now`. What it was told of each data source that the VMs have:
        None of one that was missing, or out of its range."""
        self.discover()
        with self._lock:
            found: Dict[str, Dict[str, Optional[float]]] = {uuid: {} for uuid in resident}
            for uid, plugin in self.plugins.items():
                plugin.skip = max(0, plugin.skip - 1)
                if plugin.skip == 0:
                    timestamp, told = self._read(uid, plugin)
                    for one in told:
                        self._take(found, one, timestamp)
            for uuid in resident:
                before = self.vms.get(uuid, {})
                for name in set(before) - set(found[uuid]):
                    self.archives[uuid][name].update(None, now)
                self.vms[uuid] = {**dict.fromkeys(before), **found[uuid]}
            self.vms = {uuid: self.vms[uuid] for uuid in resident}  # the others go to the master's disk
            return {uuid: dict(self.vms[uuid]) for uuid in resident}

    def _read(self, uid: str, plugin: Plugin) -> Tuple[float, List[DataSource]]:
        try:
            found = plugin.reader.payload()
        except (NoUpdate, Invalid) as error:
            plugin.first_skip = plugin.skip = min(2 * plugin.first_skip, LONGEST_SKIP)
            self.log.append(f"{uid}: {type(error).__name__} {error}".strip())
            return 0.0, []
        plugin.first_skip, plugin.skip = 1, 0
        return found

    def _take(self, found: Dict[str, Dict[str, Optional[float]]], one: DataSource, timestamp: float) -> None:
        if one.owner[0] != "vm":
            raise AssertionError(f"a data source of {one.owner}")
        if one.owner[1] not in found:
            self.log.append(f"VM uuid={one.owner[1]} is not resident in this host")
        elif one.default:
            assert one.kind == "gauge", "a rate that rrdd takes itself depends on what it had before"
            is_known = one.least <= one.value <= one.most
            found[one.owner[1]][one.name] = one.value if is_known else None
            archives = self.archives.setdefault(one.owner[1], {})
            if one.name in archives:
                archives[one.name].update(one.value, timestamp)
            else:
                archives[one.name] = Gauge(one.least, one.most, timestamp)

    # -- its socket --------------------------------------------------------------------------------

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                asked = stream.read(length)
                connection.sendall(self._answer(asked) if self.answer is None else self.answer)

    def _answer(self, body: bytes) -> bytes:
        (arguments,), method = xmlrpc.client.loads(body.decode())
        assert isinstance(arguments, dict)
        self.calls.append((str(method), arguments))
        functions: Dict[str, Callable[[], Any]] = {
            "Plugin.Local.register": lambda: self._registered(arguments),
            "Plugin.Local.deregister": lambda: self.deregister(arguments["uid"]),
        }
        try:
            said = {"Status": "Success", "Value": functions[str(method)]()}
        except (OSError, KeyError, ValueError) as error:
            return http(401, f"Go away: {error}")  # xcp_rrdd.ml, xmlrpc_handler
        return http(200, xmlrpc.client.dumps((said,), methodresponse=True, allow_none=True))

    def _registered(self, arguments: Dict[str, str]) -> float:
        self.discover()
        if arguments["info"] != "Five_Seconds" or arguments["protocol"] != "V2":
            raise ValueError(str(arguments))
        return self.register(arguments["uid"])


def http(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} -\r\ncontent-length: {len(body.encode())}\r\n\r\n{body}".encode()

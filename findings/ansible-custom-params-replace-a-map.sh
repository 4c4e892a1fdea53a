#!/usr/bin/env bash
# Ansible, community.general.xenserver_guest: a map in `custom_params` takes the place of the VM's whole map.
#
# Guess: `key: HVM_boot_params, value: {"order": "ndc"}`, the module's own example, sets the boot order, as
#        `xe vm-param-set HVM-boot-params:order=ndc` does; the documentation speaks of parameters as xe knows them.
# Seen:  the module calls VM.set_HVM_boot_params with that map, so all other keys are gone: a VM with firmware=uefi boots
#        by BIOS from then on. The result tells `changed` and no key that went.
# Why it matters: with `key: other_config` it takes the VM's `pci` (its passed-through devices), the marks of toolstacks
#        and the custom fields of XenCenter away.
# Source: community.general plugins/modules/xenserver_guest.py, reconfigure(): "VM.set_%s" % custom_param_key.
#
# Needs bash, apt-get, and python3 (3.9 to 3.11) with venv and pip.
set -euo pipefail

ANSIBLE=7.7.0+dfsg-3+deb12u1 CORE=2.14.18 XENAPI=26.21.1 # Debian 12, PyPI
folder=$(mktemp -d)
server=
trap 'rm -rf "$folder"; [ -z "$server" ] || kill "$server"' EXIT
cd "$folder"
not_there() { echo "Ansible $ANSIBLE or XenAPI $XENAPI is not to be had here: nothing was tried." >&2; exit 2; }
apt-get download -qq "ansible=$ANSIBLE" 2>/dev/null || not_there
collection=./usr/lib/python3/dist-packages/ansible_collections/community/general
dpkg-deb --fsys-tarfile ./*.deb | tar -x "$collection"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==$CORE" "XenAPI==$XENAPI" 2>/dev/null || not_there
grep -o '"version": "[^"]*"' "$collection/MANIFEST.json"
echo "Debian's ansible $ANSIBLE on ansible-core $CORE"

cat >xapi.py <<'END'
import sys
import xmlrpc.server

NULL = "OpaqueRef:NULL"
vm = {
    "uuid": "u", "name_label": "web", "name_description": "", "power_state": "Halted", "domid": "-1",
    "is_a_template": False, "is_a_snapshot": False, "affinity": NULL, "guest_metrics": NULL, "VBDs": [], "VIFs": [],
    "VCPUs_max": "1", "VCPUs_at_startup": "1", "memory_static_max": "1", "memory_dynamic_max": "1",
    "platform": {}, "xenstore_data": {}, "other_config": {}, "VCPUs_params": {},
    "HVM_boot_params": {"firmware": "uefi", "order": "cd"},
}  # fmt: skip
ANSWERS = {
    "session.login_with_password": "OpaqueRef:session",
    "session.get_this_host": "OpaqueRef:host",
    "host.get_software_version": {"product_version": "8.3.0"},
    "pool.get_all": ["OpaqueRef:pool"],
    "pool.get_default_SR": NULL,
    "VM.get_by_uuid": "OpaqueRef:vm",
    "VM.get_record": vm,
    "VM.get_allowed_VBD_devices": [],
    "VM.get_allowed_VIF_devices": [],
    "session.logout": "",
}


class Server(xmlrpc.server.SimpleXMLRPCServer):
    """What xapi answers, as far as the module asks; it tells of what is set."""

    def _dispatch(self, method, params):
        if method in ANSWERS:
            return {"Status": "Success", "Value": ANSWERS[method]}
        field = method.partition(".set_")[2]
        print("before:", sorted(vm[field].items()), file=sys.stderr)
        vm[field] = params[2]
        print("%s: %s" % (method, sorted(params[2].items())), file=sys.stderr, flush=True)
        return {"Status": "Success", "Value": ""}


class AnyPath(xmlrpc.server.SimpleXMLRPCRequestHandler):
    rpc_paths = ()


server = Server(("127.0.0.1", 0), AnyPath, logRequests=False)
print(server.server_address[1], flush=True)
server.serve_forever()
END
python3 xapi.py >port 2>changes &
server=$!
until [ -s port ]; do kill -0 "$server"; sleep 0.1; done
cat >arguments.json <<END
{"ANSIBLE_MODULE_ARGS": {
    "hostname": "http://127.0.0.1:$(cat port)", "username": "root", "password": "password",
    "uuid": "u", "state": "present", "custom_params": [{"key": "HVM_boot_params", "value": {"order": "ndc"}}]}}
END
PYTHONPATH=usr/lib/python3/dist-packages venv/bin/python \
    -m ansible_collections.community.general.plugins.modules.xenserver_guest arguments.json >result
grep -o '"changed": [a-z]*' result
cat changes

grep -q '"changed": true' result
diff - changes <<'END'
before: [('firmware', 'uefi'), ('order', 'cd')]
VM.set_HVM_boot_params: [('order', 'ndc')]
END
echo "As described: the firmware is gone from the map."

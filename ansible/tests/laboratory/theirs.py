"""What somebody else runs on hosts of a laboratory before anything of ours is there."""

from laboratory.guest import Guest
from laboratory.hosts import Hosts
from laboratory.inventory import Inventory
from laboratory.places import THEIR_NAMES, LaboratoryError
from laboratory.playbook import Controller
from laboratory.secrecy import SERVER_NAME
from tests.repository import snippet

#: The host with their servers, where they have one.
HOST = "h3"
_INSTALL = "apt-get -qq install --no-install-recommends {} >/dev/null 2>&1"
#: A Redis with a key, and an nginx with a site.
_BESIDE = f"""
{_INSTALL.format("redis-server nginx curl")} &&
systemctl start redis-server && redis-cli set shop:basket 42 >/dev/null &&
printf 'server {{ listen 8088; server_name shop.test; return 200 "the shop"; }}' \\
  >/etc/nginx/sites-available/shop &&
ln -s ../sites-available/shop /etc/nginx/sites-enabled/ && rm /etc/nginx/sites-enabled/default &&
systemctl restart nginx
"""
#: A Redis that is reached by TLS, and keeps all it is given; root reads it where ours would be.
_REDIS = """
port 0
tls-port 6379
bind 0.0.0.0
protected-mode no
tls-cert-file /etc/redis/server.pem
tls-key-file /etc/redis/server.key
tls-ca-cert-file /usr/local/share/ca-certificates/laboratory.crt
tls-auth-clients no
appendonly yes
unixsocket /run/redis/redis-server.sock
"""
_SOCKET = "L /run/redis-ledger/redis.sock - - - - /run/redis/redis-server.sock"
_RABBIT = """
listeners.tcp = none
listeners.ssl.default = 5671
ssl_options.cacertfile = /usr/local/share/ca-certificates/laboratory.crt
ssl_options.certfile = /etc/rabbitmq/server.pem
ssl_options.keyfile = /etc/rabbitmq/server.key
ssl_options.verify = verify_none
"""
#: As docs/deploy.md has it.
_QUEUES = r"^(trial_)?(flush|generate|send)(\.DQ|\.XQ)?$"
_MANAGED = f"""
{_INSTALL.format("redis-server rabbitmq-server")} &&
install -o redis -m 600 -t /etc/redis /srv/server.* &&
install -o rabbitmq -m 600 -t /etc/rabbitmq /srv/server.* /srv/rabbitmq.conf &&
cat /srv/redis.conf >>/etc/redis/redis.conf && mkdir -p /run/redis-ledger &&
systemd-tmpfiles --create && systemctl restart redis-server rabbitmq-server &&
redis-cli -s /run/redis/redis-server.sock </srv/rights.acl &&
rabbitmqctl -q add_vhost ai-admin && rabbitmqctl -q add_user ai-admin "$(cat /srv/password)" &&
rabbitmqctl -q set_permissions -p ai-admin ai-admin '{_QUEUES}' '^amq[.]default$|{_QUEUES}' \\
  '{_QUEUES}'
"""


def install(kind: str, hosts: Hosts, inventory: Inventory, controller: Controller) -> None:
    """Install what somebody else has on hosts of a kind, by the documents where these say how."""
    if kind == "beside":
        hosts.guests["h1"].ssh(_BESIDE)
    elif kind == "behind-your-nginx":
        _publish(hosts.guests["h1"], inventory)
    elif kind == "managed-redis":
        _manage(hosts.guests[HOST], inventory, controller)


def _publish(guest: Guest, inventory: Inventory) -> None:
    made = inventory.authority.sign(proxy=SERVER_NAME)
    etc = guest.root / "etc"
    (etc / "ssl/webhooks.pem").write_text(made["proxy_tls_certificate"])
    (etc / "ssl/private").mkdir(exist_ok=True)
    (etc / "ssl/private/webhooks.key").write_text(made["proxy_tls_key"])
    guest.ssh(f"{_INSTALL.format('nginx')} && rm /etc/nginx/sites-enabled/default")
    site = snippet("deploy.md", "log_format without_query")
    (etc / "nginx/sites-available/webhooks").write_text(site)
    guest.ssh("ln -s ../sites-available/webhooks /etc/nginx/sites-enabled/")
    guest.ssh("systemctl restart nginx")


def _manage(guest: Guest, inventory: Inventory, controller: Controller) -> None:
    secrets, files = inventory.vault.open(), guest.root / "srv"
    rights = files / "rights.acl"
    written = controller.play("rights.yml", "-e", f"rights_file={rights}")
    if written.status:
        raise LaboratoryError(f"rights.yml: {'; '.join(written.reasons())}")
    reader = f"ACL SETUSER admin reset on >{secrets['ledger_admin_password']} ~* &* +@all"
    with rights.open("a") as file:
        file.write(f"{reader}\nACL SETUSER default off\n")
    made = inventory.authority.sign(broker=",".join(THEIR_NAMES))
    (files / "server.pem").write_text(made["broker_tls_certificate"])
    (files / "server.key").write_text(made["broker_tls_key"])
    (files / "redis.conf").write_text(_REDIS)
    (files / "rabbitmq.conf").write_text(_RABBIT)
    (files / "password").write_text(secrets["broker_password"])
    (guest.root / "etc/tmpfiles.d/ledger.conf").write_text(f"{_SOCKET}\n")
    guest.ssh(_MANAGED)

"""The web server: signalling, page and a small HTTP API on one aiohttp application."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
from dataclasses import asdict

from aiohttp import web

from sfu.config import Config
from sfu.faults import start_fault
from sfu.hosts import host_key
from sfu.log import Seldom, peer_address
from sfu.log import configure as configure_log
from sfu.room.commands import Expire
from sfu.room.state import Judge, accept_all
from sfu.server import access_log, cors, descriptors, exposure, pages, retrying
from sfu.server.activation import Activated
from sfu.server.api import routes as api
from sfu.server.api.endpoint import json_errors
from sfu.server.api.files import Files
from sfu.server.audit import Audit
from sfu.server.certificates import Certificates
from sfu.server.conference import Conference
from sfu.server.door import IDLE_S, Context, Door, connection_of, notice_requests
from sfu.server.extending import Extensions
from sfu.server.listen import listen
from sfu.server.newcomers import Newcomer, Newcomers
from sfu.server.readiness import Readiness
from sfu.server.reloading import changes
from sfu.server.session import CLOSE_TIMEOUT_S, Session, Timing
from sfu.server.storage import open_storage
from sfu.server.uploads import Uploads
from sfu.server.webhooks import open_webhooks
from sfu.store import people
from sfu.store.store import Store

log = logging.getLogger(__name__)

_FORWARDED = frozenset({"X-Forwarded-For", "Forwarded"})
"""Headers that a proxy adds."""
STOP_DEADLINE_S = 5.0
"""How long sessions may take to end when the server stops."""


class Server:
    """Made by `start`, ended by `stop`."""

    def __init__(self, config: Config, conference: Conference, timing: Timing) -> None:
        self._config = config
        self._conference = conference
        self._timing = timing
        self._sessions: set[asyncio.Task[None]] = set()
        self._newcomers = Newcomers(config.limits.sessions_per_address, guarded=conference.access.guarded)
        self._seldom = Seldom(log)
        self._proxy_told = False
        self._stopping = False
        self._runner: web.AppRunner | None = None
        self._door: Door | None = None
        self._uploads: Uploads | None = None
        self._api: list[web.RouteDef] = []
        self._storage = contextlib.AsyncExitStack()
        self._certificates: Certificates | None = None
        self._watching: asyncio.Task[None] | None = None
        self._store: Store
        self._readiness: Readiness
        self._http_port = 0
        self._https_port = 0

    @classmethod
    async def start(
        cls,
        config: Config,
        *,
        certificates: Certificates | None = None,
        activated: Activated | None = None,
        timing: Timing | None = None,
        judge: Judge = accept_all,
    ) -> Server:
        """Listen on the configured ports; HTTPS only with `certificates`. `judge` rules the shared state.

        Sockets that are `activated` take the place of those that would be opened.

        Raises `StartError` or `ConfigError`, which name the key of what cannot be had or used.
        """
        async with contextlib.AsyncExitStack() as stack:
            storage = await stack.enter_async_context(open_storage(config))
            webhooks = await stack.enter_async_context(open_webhooks(config.webhooks, storage.store))
            sockets = activated or Activated()
            media = [*sockets.media_udp, *sockets.media_tcp]
            conference = await Conference.open(config, storage.store, sockets=media)
            conference.events.listen(webhooks.listen)
            conference.more_counts["webhooks"] = webhooks.counts
            conference.core.judge = judge
            conference.chat.drop_file = storage.drop_file
            storage.expired = lambda before_ms: conference.apply(Expire(before_ms))
            audit = Audit(storage.store, conference.quotas)
            conference.events.listen(audit.listen)
            conference.more_counts["quotas"] = lambda: {
                "refused": conference.quotas.refused,
                "alarms_unrecorded": audit.lost,
            }
            server = cls(config, conference, timing or Timing())
            server._store = storage.store
            server._readiness = Readiness(storage.store, conference.media, lambda: server._stopping)
            uploads = Uploads(storage, config.storage, conference.quotas, random.SystemRandom())
            server._uploads = uploads
            conference.more_counts["thumbnails"] = uploads.thumbnails.counts
            files = Files(storage, uploads, conference.core, conference.queries)
            server._api = api.routes(config, conference, storage.store, files, server._address)
            try:
                extensions = Extensions(conference, config.extensions)
                stack.push_async_callback(extensions.close)
                await extensions.load()
                if storage.dead:
                    # Nobody has joined yet. What is told and what is marked is one commit: it is told once.
                    conference.events.crashed(storage.dead)
                    storage.store.writes.submit(people.crashed())
                await server._listen(certificates, sockets)
            except BaseException:
                await server.stop("start failed")
                raise
            server._storage = stack.pop_all()
        return server

    @property
    def http_url(self) -> str:
        """Root of the plain HTTP server as this machine reaches it, without a slash at the end."""
        return f"http://{self._url_host()}:{self._http_port}"

    @property
    def https_url(self) -> str:
        """Root of the HTTPS server, empty without."""
        return f"https://{self._url_host()}:{self._https_port}" if self._https_port else ""

    @property
    def media_port(self) -> int:
        """UDP (and TCP) port of all media."""
        return self._conference.media.port

    @property
    def config(self) -> Config:
        """What is in force."""
        return self._config

    @property
    def alive(self) -> bool:
        """Whether what the server is for goes on; a service manager may restart it otherwise."""
        return self._readiness.alive()

    async def lost(self) -> None:
        """Wait until another server has taken the database: then this one can only stop."""
        await self._store.lost.wait()

    async def stop(self, reason: str) -> None:
        """Tell every client, end every session within a deadline, release everything."""
        log.info("stopping: %s", reason)
        self._stopping = True
        # A database that is away keeps nobody waiting from now on.
        self._store.writes.hurry()
        if self._watching is not None:
            self._watching.cancel()
        self._conference.going_away()
        if self._uploads is not None:
            self._uploads.close()
        if self._sessions:
            _, late = await asyncio.wait(set(self._sessions), timeout=STOP_DEADLINE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._door is not None:
            self._door.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._readiness.close()
        await self._conference.close()
        await self._storage.aclose()

    async def reload(self, config: Config) -> None:
        """Take over of `config` what a running server can, and say what needs a restart.

        Raises `SfuError` where the certificate cannot be used; then nothing has changed.
        """
        found = changes(self._config, config)
        if self._certificates is not None:
            self._certificates.reload(found.config.server)
        if found.config.log != self._config.log:
            configure_log(found.config.log)
        self._config = found.config
        await self._conference.reload(found.config)
        log.info("reloaded: %s", ", ".join(found.taken) or "no key has changed")
        if found.left:
            log.warning("changed, but in force only after a restart: %s", ", ".join(found.left))

    # --- listening -----------------------------------------------------------------------------

    async def _listen(self, certificates: Certificates | None, activated: Activated) -> None:
        if exposure.is_open(self._config):
            log.warning(exposure.WARNING)
        guarded = self._conference.access.guarded
        app = web.Application(
            middlewares=[
                notice_requests,
                json_errors,
                cors.names(lambda: self._config.server, guarded=guarded),
                cors.middleware(lambda: self._config.server),
            ]
        )
        app.router.add_get("/signal", self._signal)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_routes(self._api)
        app.router.add_routes(pages.Pages(pages.folder()).routes())
        app.on_response_prepare.append(pages.add_security_headers)
        app.on_response_prepare.append(retrying.say_when)
        self._runner = web.AppRunner(
            app,
            access_log=access_log.log if self._config.log.access else None,
            access_log_class=access_log.AccessLogger,
            shutdown_timeout=CLOSE_TIMEOUT_S,
            keepalive_timeout=IDLE_S,
        )
        await self._runner.setup()
        server = self._config.server
        # Behind a proxy every connection comes from its address.
        most_per_host = 0 if server.trust_proxy else self._config.limits.connections_per_address
        self._door = Door(self._runner, most=descriptors.connections(), most_per_host=most_per_host)
        self._http_port = await self._open(self._door, "server.port", server.port, activated.http, None)
        if certificates is not None and server.https_port >= 0:
            self._certificates = certificates
            self._watching = asyncio.create_task(certificates.watch())
            self._https_port = await self._open(
                self._door,
                "server.https_port",
                server.https_port,
                activated.https,
                lambda: certificates.context,
            )

    async def _open(
        self, door: Door, key: str, port: int, given: list[socket.socket], tls: Context | None
    ) -> int:
        host = self._config.server.host
        try:
            # In a thread: a name server that does not answer would keep a signal from being heeded.
            sockets = given or await asyncio.to_thread(listen, host, port)
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise start_fault("server.host", error, f"it is {host!r}") from error
            hint = "a port below 1024 needs CAP_NET_BIND_SERVICE" if error.errno == errno.EACCES else ""
            raise start_fault(key, error, hint) from error
        door.listen(sockets, tls)
        return int(sockets[0].getsockname()[1])

    def _url_host(self) -> str:
        host = self._config.server.host
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            return "127.0.0.1"
        return f"[{host}]" if ":" in host else host

    # --- signalling ----------------------------------------------------------------------------

    async def _signal(self, request: web.Request) -> web.StreamResponse:
        if self._stopping:
            raise web.HTTPServiceUnavailable
        if not cors.origin_allowed(self._config.server, request):
            raise web.HTTPForbidden(text="this page may not connect: see server.allowed_origins")
        limits = self._config.limits
        address = self._address(request)
        connection = connection_of(request)
        newcomer = Newcomer(
            host_key(address), connection.give_way if connection is not None else lambda: None
        )
        if not self._newcomers.enter(newcomer):
            self._seldom.warning("too many sessions from %s", peer_address(address))
            raise web.HTTPTooManyRequests

        def joined() -> None:
            self._newcomers.joined(newcomer)
            if connection is not None:
                connection.joined()

        socket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S,
            max_msg_size=limits.message_bytes,
            compress=True,
            heartbeat=None,
            autoping=False,
        )
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await socket.prepare(request)
            key = self._conference.new_session_key()
            transport = request.transport
            session = Session(key, socket, transport, self._conference, limits, self._timing, address, joined)
            await session.run()
        finally:
            self._sessions.discard(task)
            self._newcomers.left(newcomer)
        return socket

    def _address(self, request: web.Request) -> str:
        if self._config.server.trust_proxy:
            forwarded = request.headers.get("X-Forwarded-For", "")
            if last := forwarded.rpartition(",")[2].strip():
                return last
        elif not self._proxy_told and not _FORWARDED.isdisjoint(request.headers):
            self._proxy_told = True
            log.warning(
                "requests come through a proxy (%s) that is not trusted: everybody behind it counts as one "
                "address; where it is yours, set server.trust_proxy",
                peer_address(request.remote or ""),
            )
        return request.remote or ""

    # --- HTTP ----------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.Response:
        """Alive: it answers."""
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        """Ready for users, or why not."""
        reasons = await self._readiness.reasons()
        return web.json_response(
            {"status": "not_ready" if reasons else "ready", "reasons": [asdict(each) for each in reasons]},
            status=503 if reasons else 200,
            headers={"Cache-Control": "no-store"},
        )

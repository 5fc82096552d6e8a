"""Lifecycle nodes of the robot side: one path through their states, whoever drives them.

By `ros2 lifecycle set`, by the node itself at its start (`autostart`), and by SIGINT or SIGTERM at its end.
"""

from collections.abc import Callable
import traceback
from typing import Any, ClassVar

from pydantic import Field
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from rlt_ros.config import Strict, validate
from rlt_ros.errors import UserError
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics
from rlt_ros.ros.parameters import declare, given

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.ERROR
)  # fmt: skip
Entities = dict[int, tuple[Any, Callable[[Any], bool]]]  # by id: what it is and how it is destroyed
LAST_WORDS = 0.1  # s that a publisher's last messages have to arrive before it is destroyed


class Managed(Strict):
    """Parameters of every managed node."""

    autostart: bool = Field(
        default=True, description='configure and activate by itself; false: wait for ros2 lifecycle set'
    )


class ManagedNode(LifecycleNode):
    """A node fills in four steps; what it creates in `configure` and `activate` is destroyed by their counterparts.

    configure: load and check everything, subscribe; may take seconds. activate: create what others rely on, and begin.
    deactivate: end it, the safe last words included. release: let go of what is large. A UserError refuses a step:
    its text is logged and the state stays as it was. Anything else is a defect: logged, and the node is unconfigured.
    """

    Parameters: ClassVar[type[Managed]]

    def __init__(self, name: str):
        super().__init__(name)
        given_at_start = given(self)
        start = {key: given_at_start[key] for key in Managed.model_fields if key in given_at_start}
        self.autostart = validate(Managed, start, f'{name} parameters').autostart
        self.parameters: Any = None  # fixed at the start; files are read again by each configure
        self.active = False
        self.loading = self.done = False  # as `run` wants to know: a signal may interrupt; the process may end
        self._starting = False
        self._problem: Exception | None = None
        self._before_configure: Entities = {}
        self._before_activate: Entities = {}
        self._diagnostics = Diagnostics(self)
        self.create_timer(1.0, self._report)

    # --- what a node fills in ---

    def configure(self, parameters: Any) -> None:
        raise NotImplementedError

    def activate(self) -> None:
        pass

    def deactivate(self) -> None:
        pass

    def release(self) -> None:
        pass

    # --- what it creates: an executor may have taken up a call before the entity was destroyed, and make it after ---

    def create_timer(self, timer_period_sec: float, callback: Callable[[], None], **options: Any) -> Timer:
        timer = super().create_timer(timer_period_sec, lambda: callback() if timer in self.timers else None, **options)
        return timer

    def create_subscription(
        self, msg_type: type, topic: str, callback: Callable[[Any], None], qos_profile: Any, **options: Any
    ) -> Subscription:  # fmt: skip
        def deliver(message: Any) -> None:
            if subscription in self.subscriptions:
                callback(message)

        subscription = super().create_subscription(msg_type, topic, deliver, qos_profile, **options)
        return subscription

    # --- who drives ---

    @property
    def label(self) -> str:
        """Name of the state: unconfigured, inactive, active, finalized, or a transition under way."""
        return self._state_machine.current_state[1]

    def start_up(self) -> None:
        """Configure and activate, with autostart; raises what refused or broke it."""
        if not self.autostart:
            self.get_logger().info(f'waits: ros2 lifecycle set {self.get_fully_qualified_name()} configure')
            return
        self._starting = True
        for step in (self.trigger_configure, self.trigger_activate):
            if step() != SUCCESS:
                raise self._problem
        self._starting = False

    def close(self) -> None:
        """From any state to the end, by the same transitions."""
        if self.label == 'active':
            self.trigger_deactivate()
        if self.label == 'inactive':
            self.trigger_cleanup()
        if self.label == 'unconfigured':
            self.trigger_shutdown()

    def destroy_node(self) -> None:
        # rclpy keeps the state machine, which keeps the node: for others it would live on until its lease is over.
        self._state_machine.destroy_when_not_in_use()
        super().destroy_node()

    # --- transitions, called by rclpy ---

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._before_configure = self._entities()
        result = self._attempt('configure', self._configure)
        if result != SUCCESS:
            self._attempt('cleanup', self._cleanup)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._before_activate = self._entities()
        result = self._attempt('activate', self.activate)
        self.active = result == SUCCESS
        if result == FAILURE:
            self._destroy_since(self._before_activate)
        elif result == SUCCESS:
            self.get_logger().info('active')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt('deactivate', self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt('cleanup', self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if state.label == 'active':
            self._attempt('deactivate', self._deactivate)
        if state.label in ('active', 'inactive'):
            self._attempt('cleanup', self._cleanup)
        self.create_timer(2 * LAST_WORDS, self._end)  # when the answer is out
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a defect: nothing stays armed."""
        if state.label in ('inactive', 'active'):
            problem = self._problem
            self._attempt('deactivate', self._deactivate)
            self._attempt('cleanup', self._cleanup)
            self._problem = problem
        return SUCCESS

    def _configure(self) -> None:
        self.loading = True
        try:
            if self.parameters is None:
                self.parameters = declare(self, self.Parameters)
            self.configure(self.parameters)
        finally:
            self.loading = False

    def _deactivate(self) -> None:
        was_active, self.active = self.active, False
        try:
            if was_active:
                self.deactivate()
                self.get_logger().info('inactive')
        finally:
            self._destroy_since(self._before_activate)

    def _cleanup(self) -> None:
        try:
            self.release()
        finally:
            self._destroy_since(self._before_configure)

    def _attempt(self, what: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        """Run a step; rclpy would swallow what it raises."""
        try:
            step()
        except UserError as error:
            self._problem = error
            if not self._starting:  # then `run` says it
                self.get_logger().error(f'{what} refused: {error}')
            return FAILURE
        except Exception as error:
            self._problem = error
            self.get_logger().fatal(f'{what}: {traceback.format_exc()}')
            return ERROR
        return SUCCESS

    def _end(self) -> None:
        self.done = True

    def _entities(self) -> Entities:
        """What the node has created, and how it is destroyed."""
        kinds = (
            (self.timers, self.destroy_timer), (self.subscriptions, self.destroy_subscription),
            (self.services, self.destroy_service), (self.clients, self.destroy_client),
            (self.publishers, self.destroy_publisher),
        )  # fmt: skip
        return {id(entity): (entity, destroy) for entities, destroy in kinds for entity in entities}

    def _destroy_since(self, before: Entities) -> None:
        """Destroy what was created since, after its last messages have arrived."""
        created = [pair for key, pair in self._entities().items() if key not in before]
        for entity, destroy in created:
            if isinstance(entity, Publisher):
                entity.wait_for_all_acked(Duration(seconds=LAST_WORDS))
            destroy(entity)

    def _report(self) -> None:
        """A person sees on /diagnostics which node is not active."""
        self._diagnostics.add('lifecycle', OK if self.active else WARN, self.label, {})
        self._diagnostics.publish()

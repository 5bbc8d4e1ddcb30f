namespace EdgeFarm.Actors.Serialization;

/// <summary>
/// Marks what may leave a process: messages between coordinators, journal events, snapshots. The serializer is bound to this
/// interface, and a test finds every implementer and asks for its golden bytes. Local messages never carry it.
/// </summary>
public interface IFarmMessage;

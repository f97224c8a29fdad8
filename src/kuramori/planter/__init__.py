"""The two classes of the smart-planter guide, standing on the manager and the scheduler."""

package preset

// DeviceParams returns the table of what a device may have.
func DeviceParams() []Param { return deviceParams }
